/** The client's key, and whose key it is. */
import { parseItem } from 'structured-headers'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { addressSubject } from '../../http/client-address.ts'
import type { Exchange } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import { nodeRequestOf } from '../../http/request-body.ts'
import type { KeyValue } from '../../store/subject.ts'
import { isNoUser, requireUserId } from '../../user-id.ts'
import { isListOf } from '../../validate.ts'
import { digestOf } from './fingerprint.ts'
import type { IdempotencyOptions } from './options.ts'

/** A key, or why a request has none that can be used. Neither if it has none. */
export type ClientKey =
  | { key: string; malformed?: undefined }
  | { key?: undefined; malformed?: string }

/** Longest key, in characters. */
const LONGEST = 255
/** Key without quotes: visible ASCII without the characters that separate values. */
const BARE = /^[!#-+\--~]+$/

/**
 * Returns the key in a header field: a string by RFC 9651 (`"abc"`), as
 * draft-ietf-httpapi-idempotency-key-header-07 has it, or bare (`abc`), as most clients send it.
 * Both forms are the same key.
 *
 * @param field its name in lower case
 */
function keyInField<Native>(x: Exchange<Native>, field: string): ClientKey {
  const sent = x.header(field)
  if (sent === undefined) return {}
  if (timesSent(x.native, field) > 1) return { malformed: 'it was sent more than once' }
  const value = sent.trim()
  if (value === '') return { malformed: 'it is empty' }
  const key = value.startsWith('"') ? quoted(value) : BARE.test(value) ? value : undefined
  if (key === undefined)
    return { malformed: 'it is neither a string in quotes nor a word of visible ASCII' }
  if (key === '') return { malformed: 'it is empty' }
  if (key.length > LONGEST) return { malformed: `it is longer than ${LONGEST} characters` }
  return { key }
}

/**
 * Returns the function that finds the key of a request.
 * @param field name of the header field
 * @param own the application's function, in place of the field
 */
export function createKeyOf<Native>(
  field: string,
  own: IdempotencyOptions<Native>['key'],
): (x: Exchange<Native>) => ClientKey | Promise<ClientKey> {
  const name = field.toLowerCase()
  if (own === undefined) return (x) => keyInField(x, name)
  return (x) =>
    andThen(own(x.native), (value): ClientKey => {
      if (value === undefined || value === null) return {}
      // It may come from the body, so a client chooses it.
      const parts = partsOf(value)
      if (parts === undefined)
        return {
          malformed: 'it must be a string that is not empty, a number, or a list of such values',
        }
      return { key: Array.isArray(value) ? JSON.stringify(parts) : parts[0]! }
    })
}

function quoted(value: string): string | undefined {
  try {
    const [item] = parseItem(value)
    return typeof item === 'string' ? item : undefined
  } catch {
    return undefined
  }
}

function timesSent(native: unknown, field: string): number {
  const { rawHeaders } = nodeRequestOf(native)
  let times = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length === field.length && name.toLowerCase() === field) times++
  }
  return times
}

/**
 * Returns whose key it is, in parts that no two kinds of owner share. The address comes last,
 * because strangers may share it.
 */
function ownerOf({ identity, ip }: Exchange): readonly [kind: string, id: string] {
  const { userId } = identity
  if (!isNoUser(userId)) return ['user', requireUserId(userId, 'tp.idempotency()')]
  const { authorization } = identity
  if (authorization !== undefined) return ['authorization', digestOf(authorization)]
  const { apiKey } = identity
  if (apiKey !== undefined) return ['api-key', digestOf(apiKey)]
  return ['address', addressSubject(ip)]
}

/**
 * Returns the function that finds the tag of a request's record. Neither Redis nor an event shows
 * whose key it is, or the key.
 */
export function createTagOf<Native>(
  context: ExtensionContext<Native>,
  name: string,
  scope: IdempotencyOptions<Native>['scope'],
): (x: Exchange<Native>, key: string) => string | Promise<string> {
  function tagOf(
    x: Exchange<Native>,
    key: string,
    owner: readonly string[],
  ): string | Promise<string> {
    const { method, route = x.url.split('?', 1)[0]! } = x
    const digest = digestOf(JSON.stringify([...owner, method, hostNameOf(x), route, key]))
    if (!context.hasTenants) return context.keys.tag([name, digest])
    return andThen(context.tenantOf(x.native), (tenant) => context.keys.tag([name, digest], tenant))
  }
  if (scope !== undefined)
    return (x, key) => andThen(scope(x.native), (id) => tagOf(x, key, scopeParts(id)))
  return (x, key) => {
    const owner = ownerOf(x)
    if (owner[0] === 'address')
      context.events.warn(
        'tp.idempotency(): some requests have no user, Authorization or X-API-Key. Their keys are distinguished by address, which strangers may share. Set `scope`: tp.idempotency({ scope: (req) => req.get("x-customer") })',
      )
    return tagOf(x, key, owner)
  }
}

/** Returns the host without its port: several processes of one machine serve one application. */
function hostNameOf({ host = '' }: Exchange): string {
  const colon = host.lastIndexOf(':')
  // The last colon of an IPv6 address without a port stands before a bracket.
  const name = colon < 0 || host.endsWith(']') ? host : host.slice(0, colon)
  return name.endsWith('.') ? name.slice(0, -1) : name
}

/**
 * Returns whether a request names several hosts, or a malformed one. With a second host the same
 * request would have another key, and a second effect. HTTP/1.0 may name none.
 */
export function isHostAmbiguous(x: Exchange): boolean {
  if (x.host !== undefined) return false
  return Boolean(x.header('host') || x.header(':authority')) || !x.url.startsWith('/')
}

/** @throws TP_KEY if `scope` returned nothing that tells clients apart */
function scopeParts(id: KeyValue): string[] {
  const parts = partsOf(id)
  if (parts !== undefined)
    return Array.isArray(id) ? ['scopes', String(parts.length), ...parts] : ['scope', ...parts]
  throw new TurnpikeError(
    'TP_KEY',
    'tp.idempotency(): `scope` returned nothing that tells clients apart. It must return a string that is not empty, a number, or a list of such values. Refuse other requests before this middleware.',
  )
}

/** Returns a value as a list of strings; undefined if it identifies nothing. */
function partsOf(value: KeyValue): string[] | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  const isUsable = (part: unknown): boolean =>
    (typeof part === 'string' && part !== '') || Number.isFinite(part)
  return isListOf(list, isUsable, 1) ? list.map(String) : undefined
}
