/** `tp.locks`: who holds a lock, and its release from another process. */
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import { requireTenant } from '../../store/subject.ts'
import { integer, optionError, validateOptions } from '../../validate.ts'
import { nameTag } from '../lease-name.ts'
import { tenantName } from '../lease-options.ts'
import type { LockEngine } from './engine.ts'
import type { LockControl } from './options.ts'

const HOLDER = { tenant: tenantName }
const RELEASE = {
  tenant: tenantName,
  token: integer(1),
  force: { expected: 'true', accepts: (value: unknown) => value === true },
}

/**
 * Creates `tp.locks`.
 * @param context has the keys: those of the instance, or of a tenant
 * @param engine opens the store
 */
export function createLockControl(
  context: ExtensionContext,
  engine: () => LockEngine,
): LockControl {
  const tagOf = (where: string, name: Subject, tenant: string | undefined): string =>
    nameTag(context.keys, name, requireTenant(context, tenant, where), where)
  return {
    async holder(name, options = {}) {
      const where = 'tp.locks.holder()'
      validateOptions(where, options, HOLDER)
      return await engine().holder(tagOf(where, name, options.tenant))
    },
    async release(name, options) {
      const where = 'tp.locks.release()'
      validateOptions(where, options, RELEASE)
      const { token, force, tenant } = options
      if ((token === undefined) === (force === undefined))
        throw optionError(where, 'the options', options, 'an object with `token` or `force: true`')
      return await engine().revoke(tagOf(where, name, tenant), token)
    },
  }
}
