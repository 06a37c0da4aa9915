import type { Emitter } from '../events.ts'
import type { KeySpace } from '../store/keys.ts'
import type { Store } from '../store/store.ts'

/** What every feature stands on; the kit makes it. */
export interface Ground<Native = never> {
  /** The engine that this feature's data lives in. */
  readonly store: Store
  readonly keys: KeySpace
  readonly events: Emitter
  /** The bounded in-process engines that count while Redis is away: one forgets when it is full, one refuses. */
  readonly floor: { readonly evicting: Store; readonly refusing: Store }
  /** How many processes share the limits: the local floor admits its part. */
  readonly instances: number
  /** Warns of two limits that share their counts without anybody having said so. */
  claim(name: string, given: boolean): void
  /** Whose data a request may touch; undefined where the application has no tenants. */
  readonly tenant: ((native: Native) => string | Promise<string>) | undefined
}
