/** Stores sessions as connect-redis does: JSON that includes the cookie, under `<prefix><id>`. */
import type { RequestBudget } from '../../request-budget.ts'
import type { Store } from '../../store/store.ts'
import { parseStoredJson } from '../../stored-json.ts'
import {
  connectRedisDestroy,
  connectRedisLoad,
  connectRedisRemove,
  connectRedisSave,
  connectRedisTouch,
  sha1,
} from './operations/connect-redis.ts'
import type { StoredSession } from './record.ts'
import type { CookieData } from './session-cookie.ts'
import { corruptError } from './session-errors.ts'
import type { SessionKeys } from './session-id.ts'
import {
  type Predecessor,
  type RemoveResult,
  type SaveResult,
  type SessionStorage,
  type SessionWrite,
} from './session-storage.ts'

export class ConnectRedisStorage implements SessionStorage {
  readonly form = 'connect-redis'
  readonly #store: Store
  readonly #prefix: string
  readonly #ttl: number

  /** @param ttl of sessions whose cookie has no maxAge, in ms */
  constructor(store: Store, prefix: string, ttl: number) {
    this.#store = store
    this.#prefix = prefix
    this.#ttl = ttl
  }

  async load(keys: SessionKeys, budget?: RequestBudget): Promise<StoredSession | undefined> {
    const reply = await this.#store.run(connectRedisLoad, [this.#key(keys)], [], budget)
    return reply.length === 0 ? undefined : this.#parse(String(reply[0]), Number(reply[1]))
  }

  create(
    keys: SessionKeys,
    write: SessionWrite,
    _predecessor: Predecessor,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    return this.#save(keys, '', write, budget)
  }

  update(
    keys: SessionKeys,
    base: StoredSession,
    write: SessionWrite,
    budget?: RequestBudget,
  ): Promise<SaveResult> {
    return this.#save(keys, sha1(base.version), write, budget)
  }

  async touch(keys: SessionKeys, ttl: number, budget?: RequestBudget): Promise<void> {
    await this.#store.run(connectRedisTouch, [this.#key(keys)], [Math.ceil(ttl)], budget)
  }

  async destroy(keys: SessionKeys, budget?: RequestBudget): Promise<boolean> {
    return (await this.#store.run(connectRedisDestroy, [this.#key(keys)], [], budget)) === 1
  }

  async remove(
    keys: SessionKeys,
    base: StoredSession,
    budget?: RequestBudget,
  ): Promise<RemoveResult> {
    const reply = await this.#store.run(
      connectRedisRemove,
      [this.#key(keys)],
      [sha1(base.version)],
      budget,
    )
    if (reply[0] === 'conflict') return { conflict: this.#parse(String(reply[1]), -1) }
    return reply[0] === 'removed' ? 'removed' : 'gone'
  }

  async #save(
    keys: SessionKeys,
    base: string,
    { data, cookie, ttl }: SessionWrite,
    budget: RequestBudget | undefined,
  ): Promise<SaveResult> {
    const members = data.slice(1)
    const text = `{"cookie":${JSON.stringify(cookie)}${members === '}' ? '' : ','}${members}`
    const reply = await this.#store.run(
      connectRedisSave,
      [this.#key(keys)],
      [base, Math.ceil(ttl), text],
      budget,
    )
    if (reply[0] === 'gone') return 'gone'
    return reply[0] === 'conflict'
      ? { conflict: this.#parse(String(reply[1]), ttl) }
      : { stored: this.#parse(text, ttl) }
  }

  /** @param timeToLive ms; negative if the key has none, as with connect-redis's `disableTTL` */
  #parse(text: string, timeToLive: number): StoredSession {
    try {
      const { cookie, ...data } = parseStoredJson(text) as { cookie?: CookieData }
      const maxAge = cookie?.originalMaxAge
      const life = typeof maxAge === 'number' ? maxAge : this.#ttl
      const used = timeToLive < 0 ? life : Math.max(0, life - timeToLive)
      return {
        data: JSON.stringify(data),
        meta: cookie === undefined ? {} : { cookie },
        version: text,
        created: 0,
        endsAt: 0,
        touched: this.#store.now() - used,
        form: 'connect-redis',
        isEncrypted: false,
        hasOldKey: false,
      }
    } catch (error) {
      throw corruptError(error)
    }
  }

  #key({ id }: SessionKeys): string {
    return this.#prefix + id
  }
}
