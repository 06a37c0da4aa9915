/** What a request asks for: the keys of its entry, and what the entry can be invalidated by. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { EntryKeys } from '../../caching/entry-keys.ts'
import { digest } from '../../caching/tags.ts'
import { TurnpikeError } from '../../errors.ts'
import type { Exchange } from '../../http/exchange.ts'
import { keyPart } from '../../store/keys.ts'
import { isListOf } from '../../validate.ts'
import type { QueryOptions } from './options.ts'
import { canonicalPath, pathTag, queryTag, selectQuery, splitUrl } from './urls.ts'

/** What distinguishes one resource from another. */
export interface Resource {
  /** The content of the key's hash tag, before tenants. */
  readonly hash: string
  /** The name as it stands in the key. Patterns are looked for by it. */
  readonly readable: string
  /** What patterns are matched against: the path, or the application's own key. */
  readonly name: string
  readonly tags: readonly string[]
}

/** A resource, and the keys of its entry. If its responses vary, a marker is stored there. */
export interface Target {
  readonly resource: Resource
  readonly keys: EntryKeys
}

/** What an application adds to a resource's key. */
export interface OwnKey {
  /** The application's own key, in place of the URL. */
  key?: readonly string[] | undefined
  scope?: string | undefined
  tenant?: string | undefined
}

/** Returns the keys of an entry. */
export type KeysOf = (hash: string, readable: string, tenant: string | undefined) => EntryKeys

const MAX_REMEMBERED = 1_000
const MAX_REMEMBERED_LENGTH = 512

/** What supertest requests: a new port of this machine each time. */
const TEST_HOST = /^(127\.0\.0\.1|\[::1\]|localhost):\d+$/

/** How the targets of a mount are worked out. */
export interface TargetOptions {
  readonly keysOf: KeysOf
  readonly query: QueryOptions | undefined
  /** The log's fields of the mount's own tags, those that do not depend on the request. */
  readonly tags: readonly string[]
  /** True in unit tests over the in-process engine: the port changes with each request. */
  readonly ignoresPort: boolean
}

/** The targets of one mount. They are remembered by URL: hashing costs more than the rest of a hit. */
export class Targets {
  readonly #options: TargetOptions
  readonly #known = new BoundedMap<Target>(MAX_REMEMBERED)

  constructor(options: TargetOptions) {
    this.#options = options
  }

  /** Returns the target of a request to whose key the application adds nothing. */
  of(x: Exchange): Target {
    const { host, url, routedUrl, secure } = x
    const routed = routedUrl === url ? '' : `\n${routedUrl}`
    // No host contains a slash, every target begins with one, and none contains a line break.
    const name = `${secure ? 's' : ''}:${host}${url}${routed}`
    const known = this.#known.get(name)
    if (known) return known
    const target = this.withOwnKey(x, {})
    if (name.length <= MAX_REMEMBERED_LENGTH) this.#known.set(name, target)
    return target
  }

  /** Returns the target of any request. */
  withOwnKey(x: Exchange, { key, scope, tenant }: OwnKey): Target {
    const resource = this.#resource(x, key, scope)
    const keys = this.#options.keysOf(resource.hash, resource.readable, tenant)
    return { resource, keys }
  }

  #resource(x: Exchange, key: readonly string[] | undefined, scope: string | undefined): Resource {
    const { query: rules, tags } = this.#options
    const [path, query] = splitUrl(x.url)
    const parts = key === undefined ? this.#urlParts(x) : ['key', ...key]
    const name = key === undefined ? canonicalPath(path, 'latin1') : key.join(':')
    const own = key === undefined ? [] : [keyTag(key)]
    const urlTags = [pathTag(path, 'latin1'), queryTag(path, query, rules, 'latin1')]
    return {
      hash: digest(scope === undefined ? parts : [...parts, 'scope', scope]),
      name,
      readable: keyPart(name, 100),
      tags: [...new Set([...urlTags, ...own, ...tags])],
    }
  }

  /** Returns what the handler sees of the address: also the target that a middleware has rewritten. */
  #urlParts({ host = '', secure, url, routedUrl }: Exchange): string[] {
    const { ignoresPort, query: rules } = this.#options
    const [path, query] = splitUrl(url)
    const parts = [
      'url',
      secure ? 'https' : 'http',
      ignoresPort ? host.replace(TEST_HOST, '$1') : host,
      path,
      selectQuery(query, rules),
    ]
    if (routedUrl === url) return parts
    const [routedPath, routedQuery] = splitUrl(routedUrl)
    return [...parts, 'routed', routedPath, selectQuery(routedQuery, rules)]
  }
}

/** Returns the tag of an entry with the application's own key. */
export const keyTag = (key: readonly string[]): string => `u:${digest(['key', ...key])}`

/**
 * Returns the parts of a key that the application has given.
 * @throws TP_KEY for what does not identify a resource
 */
export function keyParts(key: unknown, where: string): readonly string[] {
  const parts: readonly unknown[] = Array.isArray(key) ? key : [key]
  if (isListOf(parts, isIdentity, 1)) return parts.map(String)
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: \`key\` must return a non-empty string, a finite number, or a list of them. To exclude a request, use \`skip\`.`,
  )
}

/**
 * Returns the owner of a response. Undefined: it is anonymous.
 * @throws TP_KEY for what does not identify an owner
 */
export function ownerOf(scope: unknown): string | undefined {
  if (scope === undefined || scope === null) return undefined
  if (isIdentity(scope)) return String(scope)
  throw new TurnpikeError(
    'TP_KEY',
    'tp.cache(): `scope` must return a non-empty string or a finite number, or undefined for anonymous visitors.',
  )
}

const isIdentity = (value: unknown): value is string | number =>
  typeof value === 'string' ? value !== '' : typeof value === 'number' && Number.isFinite(value)

/**
 * Returns what a variant adds to the key of its resource: a digest of the request headers that the
 * response varies by (RFC 9111, 4.1).
 */
export function variantOf(
  names: readonly string[],
  header: (name: string) => string | undefined,
): string {
  return `:v${digest(names.flatMap((name) => [name, normalizeValue(header(name))])).slice(0, 22)}`
}

/** White space between members of a list does not matter. An absent field differs from an empty one. */
const normalizeValue = (value: string | undefined): string =>
  value === undefined ? '-' : `+${value.split(',').map(trim).join(',')}`

const trim = (member: string): string => member.trim()
