/** API keys: `apiKeys()`. */
import { durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { addressSubject } from '../../../http/client-address.ts'
import { requireTenant } from '../../../store/subject.ts'
import {
  anyOf,
  anyString,
  boolean,
  callback,
  identifier,
  integer,
  isListOf,
  oneOf,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { storedDuration } from '../durations.ts'
import { newSecret, SECRET_LENGTH, sha256, TokenFormat, tokenPrefix } from '../token-format.ts'
import { CredentialReader } from './credentials.ts'
import { ApiKeyEngine } from './engine.ts'
import { apiKeyFeature, requireKeyFeature } from './feature.ts'
import type { ApiKeyCallOptions, ApiKeyOptions, ApiKeys, JsonOf } from './options.ts'

const FIELD = /^[!#$%&'*+.^_`|~\w-]+$/
const isField = (value: unknown): boolean => typeof value === 'string' && FIELD.test(value)

const OPTIONS: Record<string, Validator> = {
  lookup: callback,
  ttl: durationValidator,
  missTtl: durationValidator,
  near: durationValidator,
  maxKeys: integer(1, 1_000_000),
  lookupTimeout: durationValidator,
  missLimit: anyOf(integer(1), {
    expected: 'false',
    accepts: (value) => value === false,
  }),
  header: {
    expected: "a header field's name, or a list of them",
    accepts: (value) => isListOf(value, isField, 1) || isField(value),
  },
  prefix: tokenPrefix,
  checksum: boolean,
  required: boolean,
  permissions: callback,
  onUsed: callback,
  fail: oneOf('lookup', 'closed'),
  acrossTenants: boolean,
  reply: callback,
  name: identifier,
}

/** Grants and scopes stand in a header field in quotes. */
const permissionValidator: Validator = {
  expected: 'a permission like orders:write, of visible ASCII without quotes',
  accepts: (value) => typeof value === 'string' && /^[!#-[\]-~]+$/.test(value),
}

const CALL: Record<string, Validator> = { tenant: anyString }

/**
 * @param lookups of the mounts so far, by name: what one has looked up, another of its name believes
 * @throws TP_OPTION for an option that cannot be used
 */
export function createApiKeys<Native, Middleware extends object, Known extends object>(
  context: ExtensionContext<Native, Middleware>,
  options: ApiKeyOptions<Native, Known>,
  lookups: Map<string, unknown>,
): Middleware & ApiKeys<Native, Middleware, Known> {
  const where = 'apiKeys()'
  validateOptions(where, options, OPTIONS)
  if (options.lookup === undefined)
    throw optionError(
      where,
      'lookup',
      undefined,
      "a function that returns a key's record by its digest, like (digest) => db.apiKey(digest)",
    )
  const { name = 'default' } = options
  if (lookups.has(name) && lookups.get(name) !== options.lookup)
    throw optionRuleError(
      where,
      'name',
      options.name,
      `Another apiKeys() of this instance has the name '${name}' and another lookup. A key that one has accepted would open the routes of the other. Give each a name.`,
    )
  lookups.set(name, options.lookup)
  const { acrossTenants = false, required = true, reply, permissions = permissionsOf } = options
  const engine = engineOf(context, where, options)
  const format = new TokenFormat(options.prefix ?? 'key', SECRET_LENGTH)
  const fields = [options.header ?? ['authorization', 'x-api-key']].flat()
  const credentials = new CredentialReader(
    fields.map((field) => field.toLowerCase()),
    format,
    options.checksum ?? true,
  )
  const middleware = context.mount(
    apiKeyFeature(context, engine, { credentials, required, acrossTenants, reply }),
  )

  const foundIn = (native: Native): { digest: string; record: unknown } | undefined => {
    const key = context.identityOf(native).verifiedKey
    return key?.by === engine ? key : undefined
  }
  const tenantOf = (call: ApiKeyCallOptions, what: string): string | undefined => {
    validateOptions(`${where}.${what}()`, call, CALL)
    return acrossTenants ? undefined : requireTenant(context, call.tenant, `${where}.${what}()`)
  }

  const api: ApiKeys<Native, Middleware, Known> = {
    generate() {
      const key = format.write(newSecret())
      return { key, digest: digestOf(key) }
    },
    digest: digestOf,
    of: (native) => foundIn(native)?.record as JsonOf<Known> | undefined,
    subject: (native) =>
      foundIn(native)?.digest ?? ['anonymous', addressSubject(context.exchange(native).ip)],
    limit:
      (fallback, of = limitOf) =>
      (native) => {
        const found = foundIn(native)
        return (found && of(found.record as JsonOf<Known>)) ?? fallback
      },
    require(permission) {
      if (!permissionValidator.accepts(permission))
        throw optionError(
          `${where}.require()`,
          'permission',
          permission,
          permissionValidator.expected,
        )
      return context.mount(
        requireKeyFeature<Native>(engine, permission, permissions, { credentials, reply }),
      )
    },
    revoke: async (digest, call = {}) =>
      await engine.forget(checked(digest, 'revoke'), tenantOf(call, 'revoke'), engine.settings.ttl),
    invalidate: async (digest, call = {}) =>
      await engine.forget(checked(digest, 'invalidate'), tenantOf(call, 'invalidate'), 0),
    lastUsed: async (digest, call = {}) =>
      await engine.lastUsed(checked(digest, 'lastUsed'), tenantOf(call, 'lastUsed')),
  }
  return Object.assign(middleware, api)
}

function engineOf<Native, Known extends object>(
  context: ExtensionContext<Native>,
  where: string,
  options: ApiKeyOptions<Native, Known>,
): ApiKeyEngine {
  const { name = 'default', maxKeys = 10_000, fail = 'lookup', missLimit = 100 } = options
  const ms = (option: 'ttl' | 'missTtl' | 'near' | 'lookupTimeout', standard: number): number =>
    storedDuration(options[option] ?? standard, where, option, option === 'near' ? 0 : 1)
  return new ApiKeyEngine(context, {
    name,
    ttl: ms('ttl', 3_600_000),
    missTtl: ms('missTtl', 10_000),
    near: ms('near', 5000),
    lookupTimeout: ms('lookupTimeout', 5000),
    maxKeys,
    missLimit: missLimit === false ? Infinity : missLimit,
    fail,
    lookup: options.lookup,
    onUsed: options.onUsed,
  })
}

function digestOf(key: string): string {
  if (typeof key !== 'string' || key === '')
    throw new TurnpikeError(
      'TP_VALUE',
      'apiKeys().digest(): the key must be a string that is not empty.',
    )
  return sha256(key).toString('hex')
}

/** @throws TP_VALUE for what is no digest, most likely the key itself */
function checked(digest: unknown, method: string): string {
  if (typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest)) return digest
  throw new TurnpikeError(
    'TP_VALUE',
    `apiKeys().${method}(): this takes the digest of a key, 64 hexadecimal digits. Write ${method}(keys.digest(key)) where you have the key itself.`,
  )
}

/** Where records usually have them. */
const permissionsOf = (record: unknown): readonly string[] | undefined => {
  const { permissions, scopes } = record as { permissions?: string[]; scopes?: string[] }
  return permissions ?? scopes
}

const limitOf = (record: unknown): number | undefined => (record as { limit?: number }).limit
