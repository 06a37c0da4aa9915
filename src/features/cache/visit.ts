/** One request's way to an entry: what is looked for, and looking. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { Flight } from '../../caching/single-flight.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import { tagsMissingFrom } from '../../caching/validity.ts'
import type { Exchange } from '../../http/exchange.ts'
import type { Subject } from '../../store/keys.ts'
import type { CacheEngine } from './engine.ts'
import { worthOf } from './engine.ts'
import { tagField } from '../../caching/names.ts'
import { variantOf, type Identity } from './keys.ts'
import type { Mount } from './mount.ts'
import { isAcceptable } from './reply.ts'
import { markerIn, storedIn } from './stored.ts'

export class Visit<Native> {
  readonly x: Exchange<Native>
  readonly mount: Mount<Native>
  readonly engine: CacheEngine
  readonly base: EntryKeys
  readonly identity: Identity
  /** Where the entry for this request stands, as far as that is known. */
  place: EntryKeys
  /** Fields of the record: what this entry is invalidated by. */
  tags: readonly string[]
  /** Names our attempt to make the entry, while the lease is or may be ours; '': it is not. */
  token = ''
  /** Who made the entry as it was looked for: it may be over by the time that the answer is here. */
  under: Flight | undefined

  constructor(
    mount: Mount<Native>,
    x: Exchange<Native>,
    key?: Subject,
    scope?: string,
    tenant?: string,
  ) {
    this.mount = mount
    this.engine = mount.engine
    this.x = x
    const isPlain = key === undefined && scope === undefined && tenant === undefined
    const { targets } = mount
    const { identity, base } = isPlain ? targets.of(x) : targets.owned(x, { key, scope, tenant })
    this.identity = identity
    this.base = base
    this.tags = identity.tags
    const names = this.engine.vary.get(this.base.entry) ?? mount.vary
    this.place = names.length > 0 ? this.#variant(names) : this.base
  }

  get now(): number {
    return this.engine.shelf.store.now()
  }

  /** The application's own tags, too. */
  tag(tags: readonly string[]): void {
    if (tags.length === 0) return
    this.tags = [...new Set([...this.tags, ...tags.map(tagField)])]
  }

  #variant(names: readonly string[]): EntryKeys {
    const { entry, ledger } = this.base
    const variant = `${entry}${variantOf(names, this.header)}`
    return { entry: variant, lease: `${variant}:lease`, ledger }
  }

  readonly header = (name: string): string | undefined => this.x.header(name)

  /**
   * Look in this process, and in the store.
   * @param after what an earlier lookup found: if its entry is still there, it has to be made anew
   * @throws TP_UNAVAILABLE
   */
  async look(after?: LookupResult): Promise<LookupResult> {
    const { engine, mount, x, place } = this
    const { shelf } = engine
    if (mount.near > 0 && !after) {
      const near = shelf.near(mount.near).look(place)
      if (near) return near
    }
    const isWanted =
      mount.wait > 0 && x.method === 'GET' && !x.isBackground && !engine.passes(place.entry)
    this.under = shelf.flights.get(place.entry)
    this.token = isWanted && (after || !this.under) ? shelf.leases.token(place.lease) : ''
    const found = await shelf.lookup(place, {
      token: this.token,
      leaseMs: mount.lease,
      tags: this.tags,
      invalid: after?.entry && after.entry.freshUntil > after.now ? after.entry : undefined,
      budget: x.budget,
    })
    if (found.lease !== 'ours') this.token = ''
    if (found.lease === 'vain') engine.markPass(place.entry)
    const names = found.validUntil === undefined ? undefined : markerIn(found.entry)
    if (names === undefined) {
      if (mount.near > 0 && worthOf(found) === 'fresh') shelf.near(mount.near).keep(place, found)
      return found
    }
    // What stands here only says by which fields the answers vary.
    this.giveBack()
    engine.vary.set(this.base.entry, names)
    this.place = this.#variant(names)
    return await this.look(after)
  }

  /** Give a lease back that is not needed after all. */
  abandon(looking: Promise<LookupResult>): void {
    looking.then(
      () => this.giveBack(),
      () => this.giveBack(),
    )
  }

  /** Give the lease back, if it is ours. @param pause see `Leases.giveBack` */
  giveBack(pause = 0): void {
    const { token, place } = this
    this.token = ''
    if (token !== '') this.engine.shelf.leases.giveBack(place.lease, token, pause)
  }

  /**
   * May an entry that another request has just made answer this one? It must not be older than any
   * invalidation that came before this request did.
   */
  async mayShare(entry: CacheEntry, found: LookupResult | undefined): Promise<boolean> {
    const { vary, variant } = storedIn(entry)
    if (vary.length > 0 && variantOf(vary, this.header) !== variant) return false
    if (!isAcceptable(entry, this.x) || this.base.ledger.owes(entry)) return false
    if (!found) return true
    let { snapshot } = found
    const isYounger =
      entry.sequence >= snapshot.sequence && (snapshot.nonce ?? entry.nonce) === entry.nonce
    if (isYounger) return this.now < entry.freshUntil
    if (tagsMissingFrom(snapshot, entry.tags).length > 0) {
      try {
        snapshot = await this.base.ledger.read(entry.tags, this.x.budget)
      } catch (error) {
        this.engine.without(this.mount.name, error)
        return false
      }
    }
    return (
      worthOf({ entry, validUntil: this.base.ledger.validity(entry, snapshot), now: this.now }) ===
      'fresh'
    )
  }
}
