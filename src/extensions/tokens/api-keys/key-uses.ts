/** When API keys were used: noted at most once a minute for each, over all processes. */
import type { ExtensionContext } from '../../../extension.ts'
import type { FoundKey } from './known-keys.ts'
import { readKeyUse, touchKey } from './operations.ts'

const PAUSE = 60_000
const MEMORY = 90 * 86_400_000

/** Settings of one mount. */
export interface KeyUseSettings {
  readonly name: string
  readonly maxKeys: number
  readonly onUsed: ((digest: string, at: Date, record: never) => void | Promise<void>) | undefined
}

export class KeyUses {
  readonly #context: ExtensionContext
  readonly #settings: KeyUseSettings
  /** When a use was last noted by this process, on the monotonic clock, by tag. */
  readonly #noted = new Map<string, number>()

  constructor(context: ExtensionContext, settings: KeyUseSettings) {
    this.#context = context
    this.#settings = settings
  }

  /** Notes a use in the background. */
  note({ digest, record }: FoundKey, tag: string): void {
    const { store, events } = this.#context
    const { name, maxKeys, onUsed } = this.#settings
    const now = store.monotonic()
    if (now - (this.#noted.get(tag) ?? -Infinity) < PAUSE) return
    this.#noted.delete(tag)
    this.#noted.set(tag, now)
    if (this.#noted.size > maxKeys) this.#noted.delete(this.#noted.keys().next().value!)
    if (store.unavailable() !== undefined) return
    store
      .run(touchKey, [this.#key(tag)], [PAUSE, MEMORY])
      .then(async (at) => {
        if (at > 0) await onUsed?.(digest, new Date(at), record as never)
      })
      .catch((error: unknown) => events.emit('error', { feature: 'apiKeys', name, error }))
  }

  /** @throws TP_UNAVAILABLE */
  async lastUsed(tag: string): Promise<Date | undefined> {
    const at = Number((await this.#context.store.run(readKeyUse, [this.#key(tag)], [])) ?? NaN)
    return Number.isNaN(at) ? undefined : new Date(at)
  }

  #key(tag: string): string {
    return this.#context.keys.key('api-key-use', tag)
  }
}
