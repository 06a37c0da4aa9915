/** Sessions without HTTP: ids in, data out. */
import { TurnpikeError } from '../../errors.ts'
import type { RequestBudget } from '../../request-budget.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Cipher } from './cipher.ts'
import type { CookieData } from './cookie.ts'
import { handleOf, newId, placeOf, tagOf, type Place, type Secret } from './id.ts'
import { merged, type Data, type OnConflict } from './merge.ts'
import { PlainVault } from './plain-vault.ts'
import type { Meta, Stored } from './record.ts'
import type { SessionSerializer } from './serializer.ts'
import { BlobVault, corrupt, type Fresh, type Outcome, type Vault } from './vault.ts'

export interface SessionEngineOptions {
  /** Names the sessions in events. */
  name: string
  /** The first signs new cookies and tags. */
  secrets: readonly Secret[]
  /** All times in ms; an absolute timeout of 0: none. */
  ttl: number
  touchAfter: number | undefined
  absolute: number
  serializer: SessionSerializer
  maxBytes: number
  cipher: Cipher | undefined
  onConflict: OnConflict
  onCorrupt: 'new' | 'error'
  maxPerUser: number
  onOverflow: 'evict-oldest' | 'deny'
  legacyPrefix: string | undefined
  format: 'turnpike' | 'connect-redis'
}

/** A session that was read, and its data. */
export interface Loaded {
  readonly stored: Stored
  readonly data: Data
}

/** What a request wants to store. */
export interface Change {
  data: Data
  /** `data` as the serializer wrote it. */
  text: string
  meta: Meta
  cookie: CookieData
  ttl: number
}

const MOST_CONFLICTS = 16

/** The sessions of one mount. */
export class SessionEngine {
  readonly options: SessionEngineOptions
  readonly context: ExtensionContext
  readonly blobs: BlobVault
  readonly #vault: Vault
  /** connect-redis's values, which are read but not written. */
  readonly #legacy: PlainVault | undefined

  constructor(context: ExtensionContext, options: SessionEngineOptions) {
    const { store } = context
    const { ttl, legacyPrefix, format } = options
    this.context = context
    this.options = options
    this.blobs = new BlobVault(store, options)
    const isPlain = format === 'connect-redis'
    this.#vault = isPlain ? new PlainVault(store, legacyPrefix ?? 'sess:', ttl) : this.blobs
    if (!isPlain && legacyPrefix !== undefined)
      this.#legacy = new PlainVault(store, legacyPrefix, ttl)
  }

  readonly now = (): number => this.context.store.now()

  place(id: string, tenant: string | undefined): Place {
    return placeOf(this.context.keys, id, tenant)
  }

  /** An id of a user's, or of nobody's. */
  idFor(user?: string): string {
    return newId(user === undefined ? undefined : tagOf(user, this.options.secrets[0]!))
  }

  /**
   * Read a session. Undefined for one that is not there, or cannot be read where that begins a new one.
   * @throws TP_UNAVAILABLE; TP_SESSION_CORRUPT with `onCorrupt: 'error'`
   */
  load(place: Place, budget?: RequestBudget): Promise<Loaded | undefined> {
    const found = this.#vault.load(place, budget)
    const legacy = this.#legacy?.load(place, budget)
    // Looked at only where there is no session of ours.
    legacy?.catch(() => {})
    const stored = legacy === undefined ? found : found.then((ours) => ours ?? legacy)
    return stored.then(
      (stored) => (stored ? this.#open(place, stored) : this.#missing(place, budget)),
      (error: unknown) => this.#unreadable(place, error),
    )
  }

  /** Nothing can be read there. Whether something is there delays nobody, but where that is an error. */
  #missing(place: Place, budget: RequestBudget | undefined): Promise<undefined> | undefined {
    if (this.#vault !== this.blobs) return undefined
    const isStrict = this.options.onCorrupt === 'error'
    const verified = this.blobs
      .verify(place, isStrict ? budget : undefined)
      .then(() => undefined)
      .catch((error: unknown) => this.#unreadable(place, error))
    if (isStrict) return verified
    this.inBackground(verified)
    return undefined
  }

  #open(place: Place, stored: Stored): Loaded | undefined {
    try {
      return { stored, data: this.#parse(stored) }
    } catch (error) {
      return this.#unreadable(place, error)
    }
  }

  #unreadable(place: Place, error: unknown): undefined {
    if ((error as { code?: unknown }).code !== 'TP_SESSION_CORRUPT') throw error
    this.tell('corrupt', place)
    if (this.options.onCorrupt === 'error') throw error
    return undefined
  }

  /**
   * Store a new session.
   * @throws TP_SESSION_LIMIT, TP_SESSION_SIZE, TP_UNAVAILABLE
   */
  async create(
    place: Place,
    change: Change,
    replaced?: Stored,
    budget?: RequestBudget,
  ): Promise<Stored | undefined> {
    const outcome = await this.#vault.create(place, this.#fresh(change), replaced, budget)
    if (outcome === 'full') {
      throw new TurnpikeError(
        'TP_SESSION_LIMIT',
        'The user has as many sessions as one may have.',
        { status: 409 },
      )
    }
    return typeof outcome === 'object' && 'stored' in outcome ? outcome.stored : undefined
  }

  /**
   * Store the next version of a session, whoever else has changed it meanwhile. Undefined if it is gone.
   * @throws TP_SESSION_CONFLICT, TP_SESSION_SIZE, TP_UNAVAILABLE
   */
  async update(
    place: Place,
    stored: Stored,
    change: Change,
    budget?: RequestBudget,
  ): Promise<Loaded | undefined> {
    const { serializer, onConflict } = this.options
    let [base, wanted] = [stored, change]
    for (let attempt = 0; attempt < MOST_CONFLICTS; attempt++) {
      const outcome = await this.#store(place, base, wanted, budget)
      if (outcome === 'gone' || outcome === 'full') {
        this.tell('dropped', place)
        return undefined
      }
      if ('stored' in outcome) return { stored: outcome.stored, data: wanted.data }
      if (onConflict === 'reject') throw conflict()
      const theirs = outcome.conflict
      base = theirs
      if (onConflict === 'last-write-wins') continue
      const [began, now] = [this.#parse(stored), this.#parse(theirs)]
      const both =
        onConflict === 'merge'
          ? merged(began, change.data, now, serializer)
          : onConflict(began, change.data, now)
      wanted = { ...change, data: both, text: serializer.serialize(both) }
      this.tell('merged', place)
    }
    throw conflict()
  }

  gone(): TurnpikeError {
    return new TurnpikeError(
      'TP_SESSION_GONE',
      'The session is not there any more: it has expired, or has been destroyed.',
    )
  }

  /** Renew a session's time to live, if enough of it has passed. Nobody waits for it. */
  touch(place: Place, stored: Stored, ttl: number): void {
    const { touchAfter = ttl / 10 } = this.options
    if (ttl <= 0 || this.now() - stored.touched < touchAfter) return
    const vault = stored.foreign ? (this.#legacy ?? this.#vault) : this.#vault
    this.inBackground(vault.touch(place, stored, ttl))
  }

  /** End a session. @throws TP_UNAVAILABLE */
  async destroy(place: Place, grace = 0, budget?: RequestBudget): Promise<void> {
    await Promise.all([
      this.#vault.destroy(place, grace, budget),
      this.#legacy?.destroy(place, 0, budget),
    ])
  }

  /** For a write that nobody waits for: its failure is reported. */
  inBackground(write: Promise<unknown>): void {
    write.catch((error: unknown) =>
      this.context.events.emit('error', { feature: 'session', name: this.options.name, error }),
    )
  }

  tell(
    what: 'login' | 'logout' | 'merged' | 'dropped' | 'corrupt' | 'two-cookies',
    place: Place | undefined,
  ): void {
    const { events } = this.context
    if (events.hasListeners('session'))
      events.emit('session', {
        name: this.options.name,
        type: what,
        handle: place && handleOf(place),
      })
  }

  async #store(
    place: Place,
    base: Stored,
    wanted: Change,
    budget: RequestBudget | undefined,
  ): Promise<Outcome> {
    const fresh = this.#fresh(wanted)
    if (!base.foreign || !this.#legacy) return await this.#vault.update(place, base, fresh, budget)
    // Whoever removes connect-redis's value has the right to write ours: a logout has removed it, too.
    if (await this.#legacy.destroy(place, 0, budget))
      return await this.#vault.create(place, fresh, undefined, budget)
    const theirs = await this.#vault.load(place, budget)
    return theirs ? { conflict: theirs } : 'gone'
  }

  #fresh({ text, meta, cookie, ttl }: Change): Fresh {
    const { maxBytes } = this.options
    const bytes = Buffer.byteLength(text)
    if (bytes <= maxBytes) return { data: text, meta, cookie, ttl }
    throw new TurnpikeError(
      'TP_SESSION_SIZE',
      `A session of ${bytes} bytes is more than maxBytes (${maxBytes}) allows; what was stored before is kept.`,
    )
  }

  #parse({ data }: Stored): Data {
    let parsed: unknown
    try {
      parsed = this.options.serializer.deserialize(data)
    } catch (error) {
      throw corrupt(error)
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw corrupt(new Error('it is no object'))
    return parsed as Data
  }
}

const conflict = (): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CONFLICT', 'Another request has changed the session meanwhile.', {
    status: 409,
  })
