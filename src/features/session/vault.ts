/** Where sessions are kept: as blobs of our own, or as connect-redis keeps them. */
import { TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { Store } from '../../store/store.ts'
import type { Cipher } from './cipher.ts'
import type { CookieData } from './cookie.ts'
import { destroy } from './destroy.ts'
import type { Place } from './id.ts'
import { kind } from './kind.ts'
import { load } from './load.ts'
import { barIn } from './members.ts'
import { headerOf, HEADER, packed, unpacked, type Meta, type Stored } from './record.ts'
import { save } from './save.ts'
import { touch } from './touch.ts'

/** What is to be stored. */
export interface Fresh {
  readonly data: string
  readonly meta: Meta
  /** The cookie as connect-redis keeps it. */
  readonly cookie: CookieData
  /** Time to live in ms. */
  readonly ttl: number
}

/** How a save ended. */
export type Outcome = { stored: Stored } | { conflict: Stored } | 'gone' | 'full'

export interface Vault {
  /** @throws TP_SESSION_CORRUPT for a value that cannot be read */
  load(place: Place, budget?: RequestBudget): Promise<Stored | undefined>
  /** @param replaced the session that this one goes on with under another id */
  create(
    place: Place,
    fresh: Fresh,
    replaced: Stored | undefined,
    budget?: RequestBudget,
  ): Promise<Outcome>
  update(place: Place, stored: Stored, fresh: Fresh, budget?: RequestBudget): Promise<Outcome>
  touch(place: Place, stored: Stored, ttl: number, budget?: RequestBudget): Promise<void>
  /** @param grace ms for which requests under way may still use it */
  destroy(place: Place, grace: number, budget?: RequestBudget): Promise<boolean>
}

export interface BlobOptions {
  cipher: Cipher | undefined
  /** ms, 0: none */
  absolute: number
  maxPerUser: number
  onOverflow: 'evict-oldest' | 'deny'
}

export const corrupt = (cause: unknown): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CORRUPT', 'A stored session cannot be read.', { cause })

/** One blob for each session: see record.ts. */
export class BlobVault implements Vault {
  readonly #store: Store
  readonly #options: BlobOptions

  constructor(store: Store, options: BlobOptions) {
    this.#store = store
    this.#options = options
  }

  load(place: Place, budget?: RequestBudget): Promise<Stored | undefined> {
    return this.#store.run(load, [place.session, place.bar], [], budget).then(([blob, barred]) => {
      if (typeof blob !== 'string') return undefined
      const stored = this.read(blob, place.member)
      return isBarred(stored, place, barred) ? undefined : stored
    })
  }

  /** @throws TP_SESSION_CORRUPT */
  read(blob: string, member: string): Stored {
    const header = headerOf(blob)
    if (!header) throw corrupt(new Error('it has no header'))
    const { encrypted, version, created, until, touched } = header
    try {
      const payload = blob.slice(HEADER)
      const text = encrypted ? this.#cipher.decrypt(payload, member) : payload
      return { ...unpacked(text), version, created, until, touched, foreign: false }
    } catch (error) {
      throw corrupt(error)
    }
  }

  /** Reading takes a value of another type for none. @throws TP_SESSION_CORRUPT if there is one */
  async verify(place: Place, budget?: RequestBudget): Promise<void> {
    const type = await this.#store.run(kind, [place.session], [], budget)
    if (type !== 'none' && type !== 'string') throw corrupt(new Error(`it is a ${type}`))
  }

  create(
    place: Place,
    fresh: Fresh,
    replaced: Stored | undefined,
    budget?: RequestBudget,
  ): Promise<Outcome> {
    const times = replaced
      ? [replaced.created, replaced.until].map((ms) => String(ms).padStart(13, '0')).join('')
      : ''
    return this.#save(place, '', fresh, times, budget)
  }

  update(place: Place, stored: Stored, fresh: Fresh, budget?: RequestBudget): Promise<Outcome> {
    return this.#save(place, stored.version, fresh, '', budget)
  }

  async touch(place: Place, _stored: Stored, ttl: number, budget?: RequestBudget): Promise<void> {
    await this.#store.run(
      touch,
      [place.session, place.index],
      [Math.ceil(ttl), place.member],
      budget,
    )
  }

  async destroy(place: Place, grace: number, budget?: RequestBudget): Promise<boolean> {
    return (
      (await this.#store.run(
        destroy,
        [place.session, place.index],
        [place.member, grace],
        budget,
      )) === 1
    )
  }

  async #save(
    place: Place,
    base: string,
    fresh: Fresh,
    times: string,
    budget: RequestBudget | undefined,
  ): Promise<Outcome> {
    const { session, index, bar, member } = place
    const { cipher, absolute, maxPerUser, onOverflow } = this.#options
    const { data, meta, ttl } = fresh
    const text = packed(meta, data)
    const kind = `${cipher ? 'E' : 'J'}${meta.user === undefined ? '-' : 'u'}`
    const payload = cipher ? cipher.encrypt(text, member) : text
    const overflow = onOverflow === 'deny' ? 'deny' : 'evict'
    // A session that goes on under another id is no further one.
    const most = times === '' ? maxPerUser : 0
    const args = [base, Math.ceil(ttl), absolute, kind, payload, member, most, overflow, times]
    const reply = await this.#store.run(save, [session, index, bar], args, budget)
    if (reply[0] === 'gone' || reply[0] === 'full') return reply[0]
    if (reply[0] === 'conflict') return { conflict: this.read(String(reply[1]), member) }
    const [, version, created, until, touched] = reply as [string, string, number, number, number]
    return { stored: { data, meta, version, created, until, touched, foreign: false } }
  }

  get #cipher(): Cipher {
    if (this.#options.cipher) return this.#options.cipher
    throw new Error('it is encrypted, and there is no key')
  }
}

/** Has "log out everywhere" ended this session? */
export function isBarred(
  { created, meta }: Stored,
  { member }: Place,
  barred: string | null | undefined,
): boolean {
  if (!barred || meta.user === undefined) return false
  const { at, exempt } = barIn(barred)
  return created <= at && exempt !== member
}
