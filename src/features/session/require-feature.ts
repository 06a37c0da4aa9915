/** `tp.session.require()`: routes that need a user, or a permission. */
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import { isPermitted } from '../../permissions.ts'
import { callback, optionError, validateOptions } from '../../validate.ts'
import type { RequireOptions } from './options.ts'

/** Creates the feature that lets a request pass only if its user is logged in and has `permission`. */
export function requireFeature<Native>(
  permission: string | undefined,
  options: RequireOptions<Native> = {},
): Feature<Native, never> {
  const where = 'tp.session.require()'
  if (permission !== undefined && typeof permission !== 'string')
    throw optionError(where, 'permission', permission, 'a string')
  validateOptions(where, options, { user: callback, permissions: callback })
  const { user, permissions } = options

  async function handle(x: Exchange<Native>): Promise<Plan> {
    const { identity } = x
    const who = user ? user(x.native) : (identity.userId ?? identity.user)
    if (who === undefined || who === null || who === false)
      return refuse(x, 401, 'Unauthorized', 'Log in first.')
    if (permission === undefined) return passThrough
    const granted = await (permissions ? permissions(x.native) : permissionsOf(x))
    if (isPermitted(granted, permission)) return passThrough
    return refuse(x, 403, 'Forbidden', `This needs the permission '${permission}'.`)
  }

  return { name: 'requireSession', handle }
}

const refuse = (x: Exchange, status: number, title: string, detail: string): Plan => ({
  reply: problemReply({ title, status, detail }, x),
})

/** Returns `permissions` of the session, or of the user that an authentication middleware set. */
function permissionsOf({ identity }: Exchange): readonly string[] | undefined {
  for (const holder of [identity.session, identity.user]) {
    const { permissions } = (holder ?? {}) as { permissions?: unknown }
    if (permissions !== undefined && permissions !== null)
      return Array.isArray(permissions) ? (permissions as string[]) : undefined
  }
  return undefined
}
