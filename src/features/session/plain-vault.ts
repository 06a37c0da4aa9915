/** Sessions as connect-redis keeps them: JSON with the cookie in it, under `<prefix><id>`. */
import type { RequestBudget } from '../../request-budget.ts'
import type { Store } from '../../store/store.ts'
import type { CookieData } from './cookie.ts'
import type { Place } from './id.ts'
import { plainDestroy, plainLoad, plainTouch } from './plain-load.ts'
import { plainSave, sha1 } from './plain-save.ts'
import type { Stored } from './record.ts'
import { corrupt, type Fresh, type Outcome, type Vault } from './vault.ts'

export class PlainVault implements Vault {
  readonly #store: Store
  readonly #prefix: string
  readonly #ttl: number

  /** @param ttl of sessions whose cookie has no maxAge, in ms */
  constructor(store: Store, prefix: string, ttl: number) {
    this.#store = store
    this.#prefix = prefix
    this.#ttl = ttl
  }

  async load(place: Place, budget?: RequestBudget): Promise<Stored | undefined> {
    const reply = await this.#store.run(plainLoad, [this.#key(place)], [], budget)
    return reply.length === 0 ? undefined : this.#read(String(reply[0]), Number(reply[1]))
  }

  create(
    place: Place,
    fresh: Fresh,
    _replaced: Stored | undefined,
    budget?: RequestBudget,
  ): Promise<Outcome> {
    return this.#save(place, '', fresh, budget)
  }

  update(place: Place, stored: Stored, fresh: Fresh, budget?: RequestBudget): Promise<Outcome> {
    return this.#save(place, sha1(stored.version), fresh, budget)
  }

  async touch(place: Place, _stored: Stored, ttl: number, budget?: RequestBudget): Promise<void> {
    await this.#store.run(plainTouch, [this.#key(place)], [Math.ceil(ttl)], budget)
  }

  async destroy(place: Place, _grace: number, budget?: RequestBudget): Promise<boolean> {
    return (await this.#store.run(plainDestroy, [this.#key(place)], [], budget)) === 1
  }

  async #save(
    place: Place,
    base: string,
    { data, cookie, ttl }: Fresh,
    budget: RequestBudget | undefined,
  ): Promise<Outcome> {
    const rest = data.slice(1)
    const text = `{"cookie":${JSON.stringify(cookie)}${rest === '}' ? '' : ','}${rest}`
    const reply = await this.#store.run(
      plainSave,
      [this.#key(place)],
      [base, Math.ceil(ttl), text],
      budget,
    )
    if (reply[0] === 'gone') return 'gone'
    return reply[0] === 'conflict'
      ? { conflict: this.#read(String(reply[1]), ttl) }
      : { stored: this.#read(text, ttl) }
  }

  #read(text: string, left: number): Stored {
    try {
      const { cookie, ...data } = JSON.parse(text) as { cookie?: CookieData }
      const whole = cookie?.originalMaxAge ?? this.#ttl
      return {
        data: JSON.stringify(data),
        meta: cookie === undefined ? {} : { cookie },
        version: text,
        created: 0,
        until: 0,
        // connect-redis may have no time to live at all (disableTTL).
        touched: this.#store.now() - (left < 0 ? whole : Math.max(0, whole - left)),
        foreign: true,
      }
    } catch (error) {
      throw corrupt(error)
    }
  }

  #key({ id }: Place): string {
    return this.#prefix + id
  }
}
