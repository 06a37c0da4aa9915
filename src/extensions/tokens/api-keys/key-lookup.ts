/** Looking keys up in the application's database: one process at a time, by a lease in Redis. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { RequestBudget } from '../../../request-budget.ts'
import { readReply, sealRecord, type FoundOut, type KeyReply } from './key-record.ts'
import { MissLimit } from './miss-limit.ts'
import { fillKey, findKey } from './operations.ts'
import type { LookupContext } from './options.ts'

/** Settings of one mount; times in ms. */
export interface KeyLookupSettings {
  readonly name: string
  readonly ttl: number
  readonly missTtl: number
  readonly lookupTimeout: number
  readonly missLimit: number
  lookup(digest: string, context: LookupContext): unknown
}

/** For whom a key is looked up. */
export interface LookupCaller extends LookupContext {
  /** Network of the client. Undefined: its misses are not counted. */
  readonly address?: string | undefined
}

export class KeyLookup {
  readonly #context: ExtensionContext
  readonly #settings: KeyLookupSettings
  readonly #misses: MissLimit
  readonly #process = randomBytes(12).toString('base64url')
  #count = 0

  constructor(context: ExtensionContext, settings: KeyLookupSettings) {
    this.#context = context
    this.#settings = settings
    this.#misses = new MissLimit(settings.missLimit)
  }

  /** Returns how long an address may have nothing looked up, in ms. */
  waitOf(address: string | undefined): number {
    return this.#misses.waitOf(address, this.#context.store.monotonic())
  }

  /** Returns a name for one attempt. No other process has the same. */
  newToken(): string {
    return `${this.#process}.${(++this.#count).toString(36)}`
  }

  /** Asks Redis what is known of a key. Takes the lease where nothing is. See find.lua. */
  claim(key: string, token: string, budget?: RequestBudget): Promise<string> {
    const args = [token, this.#settings.lookupTimeout]
    return this.#context.store.run(findKey, [key], args, budget)
  }

  /**
   * Asks the database, and stores what it says.
   * @returns what was found; and what Redis knows by now: `ours`, if it was stored
   * @throws what `lookup` throws; TP_VALUE for a record that cannot be used
   */
  async fill(
    key: string,
    token: string,
    digest: string,
    caller: LookupCaller,
  ): Promise<{ found: FoundOut; stored: KeyReply }> {
    const { ttl, missTtl } = this.#settings
    const { store } = this.#context
    let [sealed, found]: [string, FoundOut] = ['', { kind: 'none' }]
    try {
      sealed = await this.#ask(digest, caller)
      found = foundIn(sealed)
    } catch (error) {
      this.release(key, token)
      throw error
    }
    try {
      const args = [token, sealed, found.kind === 'none' ? missTtl : ttl]
      return { found, stored: readReply(await store.run(fillKey, [key], args)) }
    } catch (error) {
      if (!isUnavailable(error)) throw error
      return { found, stored: { kind: 'ours' } }
    }
  }

  /** Releases the lease in the background. Another process may look the key up at once. */
  release(key: string, token: string): void {
    const { store, events } = this.#context
    const { name } = this.#settings
    store
      .run(fillKey, [key], [token, '', 0])
      .catch((error: unknown) => events.emit('error', { feature: 'apiKeys', name, error }))
  }

  /** Asks the database, where Redis cannot answer. @throws as `fill()` */
  async ask(digest: string, caller: LookupCaller): Promise<FoundOut> {
    return foundIn(await this.#ask(digest, caller))
  }

  /** @returns what was found, as it is stored: 'r' and the record, or 'n' */
  async #ask(digest: string, { tenant, address }: LookupCaller): Promise<string> {
    const end = this.#misses.begin(address, this.#context.store.monotonic())
    let hasFound = true
    try {
      const sealed = sealRecord(await this.#settings.lookup(digest, { tenant }))
      hasFound = sealed !== undefined
      return sealed === undefined ? 'n' : `r${sealed}`
    } finally {
      end(hasFound)
    }
  }
}

/** Reads what was found as it would be read from Redis, so that a miss returns what a hit returns. */
const foundIn = (sealed: string): FoundOut => readReply(sealed) as FoundOut
