/** placeholder */
import type { Store } from '../store/store.ts'
export class NearCache {
  maxBytes: number
  readonly store: Store
  constructor(store: Store, maxBytes: number) {
    this.store = store
    this.maxBytes = maxBytes
  }
}
