/** What a request asks for: the keys of its entry, and what the entry can be invalidated by. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { EntryKeys } from '../../caching/entry-keys.ts'
import { digest } from '../../caching/tags.ts'
import type { Exchange } from '../../http/exchange.ts'
import { keyPart, type Subject } from '../../store/keys.ts'
import type { QueryOptions } from './options.ts'
import { selectQuery, splitUrl, urlTags } from './urls.ts'

/** What distinguishes one resource from another. */
export interface Resource {
  /** The content of the key's hash tag, before tenants. */
  readonly hash: string
  /** The path as it stands in the key. Patterns are looked for by it. */
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
  key?: Subject | undefined
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
    const { host, url, secure } = x
    // No host contains a slash, and every target that has a host begins with one.
    const name = `${secure ? 's' : ''}:${host ?? ''}${url}`
    const known = this.#known.get(name)
    if (known) return known
    const target = this.withOwnKey(x, {})
    const isShort = name.length <= MAX_REMEMBERED_LENGTH
    if (isShort && host !== undefined && url.startsWith('/')) this.#known.set(name, target)
    return target
  }

  /** Returns the target of any request. */
  withOwnKey(x: Exchange, { key, scope, tenant }: OwnKey): Target {
    const resource = this.#resource(x, key, scope)
    return { resource, keys: this.#options.keysOf(resource.hash, resource.readable, tenant) }
  }

  #resource(x: Exchange, key: Subject | undefined, scope: string | undefined): Resource {
    const { ignoresPort, query: rules, tags } = this.#options
    const [path, query] = splitUrl(x.url)
    const host = x.host ?? ''
    const parts =
      key === undefined
        ? [
            'url',
            x.secure ? 'https' : 'http',
            ignoresPort ? host.replace(TEST_HOST, '$1') : host,
            path,
            selectQuery(query, rules),
          ]
        : ['key', ...[key].flat()]
    const name = key === undefined ? path : [key].flat().join(':')
    const { all, exact } = urlTags(x.url)
    return {
      hash: digest(scope === undefined ? parts : [...parts, 'scope', scope]),
      name,
      readable: keyPart(name, 100),
      tags: [...new Set([all, exact, ...(key === undefined ? [] : [keyTag(key)]), ...tags])],
    }
  }
}

/** Returns the tag of an entry with the application's own key. */
export const keyTag = (key: Subject): string => `u:${digest(['key', ...[key].flat()])}`

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
