/** `tp.session.require()`: routes that need a user, or a permission. */
import { callback, validateOptions, optionError } from '../../validate.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import type { RequireOptions } from './options.ts'

interface Known {
  session?: { userId?: unknown; permissions?: unknown } | null
  user?: unknown
  state?: { user?: unknown }
}

/** Lets only requests pass whose user is logged in and has `permission`: 401 and 403 with problem+json. */
export function requireFeature<Native>(
  permission: string | undefined,
  options: RequireOptions<Native> = {},
): Feature<Native, never> {
  const where = 'tp.session.require()'
  if (permission !== undefined && typeof permission !== 'string')
    throw optionError(where, 'permission', permission, 'a text')
  validateOptions(where, options, { user: callback, permissions: callback })
  const { user = userOf, permissions = permissionsOf } = options

  async function handle(x: Exchange<Native>): Promise<Plan> {
    const who = user(x.native)
    if (who === undefined || who === null || who === false) {
      return refuse(x, 401, 'Unauthorized', 'Log in first.')
    }
    if (permission === undefined || (await permissions(x.native))?.includes(permission))
      return passThrough
    return refuse(x, 403, 'Forbidden', `This needs the permission '${permission}'.`)
  }

  return { name: 'requireSession', handle }
}

const refuse = (x: Exchange, status: number, title: string, detail: string): Plan => ({
  reply: problemReply({ title, status, detail }, x),
})

function userOf(native: unknown): unknown {
  const { session, user, state } = native as Known
  return session?.userId ?? user ?? state?.user
}

function permissionsOf(native: unknown): readonly string[] | undefined {
  const { session, user, state } = native as Known
  const given =
    session?.permissions ??
    ((user ?? state?.user) as { permissions?: unknown } | undefined)?.permissions
  return Array.isArray(given) ? (given as string[]) : undefined
}
