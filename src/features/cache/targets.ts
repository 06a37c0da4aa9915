/** Where the entry for a request stands. Worked out once for each URL: hashing costs more than all else in a hit. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { EntryKeys } from '../../caching/entry-keys.ts'
import type { Exchange } from '../../http/exchange.ts'
import type { Subject } from '../../store/keys.ts'
import { identityOf, type Identity } from './keys.ts'
import type { QueryOptions } from './options.ts'

/** What a request asks for, and the place of its entry, or of the entry that says how it varies. */
export interface Target {
  readonly identity: Identity
  readonly base: EntryKeys
}

/** What an application says of a request. */
export interface Own {
  key?: Subject | undefined
  scope?: string | undefined
  tenant?: string | undefined
}

/** Where an entry of that name stands. */
export type PlaceOf = (hash: string, readable: string, tenant: string | undefined) => EntryKeys

const REMEMBERED = 1_000
const LONGEST = 512

/** The targets of one mount. */
export class Targets {
  readonly #place: PlaceOf
  readonly #rules: { readonly query: QueryOptions | undefined; readonly anyPort: boolean }
  readonly #known = new BoundedMap<Target>(REMEMBERED)

  /** @param anyPort one host's ports are one: see `identityOf` */
  constructor(place: PlaceOf, query: QueryOptions | undefined, anyPort: boolean) {
    this.#place = place
    this.#rules = { query, anyPort }
  }

  /** The target of a request of which the application says nothing. */
  of(x: Exchange): Target {
    const { host, url, secure } = x
    // No host has a slash in it, and every target that has a host begins with one.
    const name = `${secure ? 's' : ''}:${host ?? ''}${url}`
    const known = this.#known.get(name)
    if (known) return known
    const target = this.owned(x, {})
    if (name.length <= LONGEST && host !== undefined && url.startsWith('/'))
      this.#known.set(name, target)
    return target
  }

  /** The target of any request. */
  owned(x: Exchange, { key, scope, tenant }: Own): Target {
    const identity = identityOf(x, { key, scope, ...this.#rules })
    return { identity, base: this.#place(identity.hash, identity.readable, tenant) }
  }
}
