/** What a namespace and a call settle. */
import type { DataSerializer } from './value.ts'

/** What a namespace settles for its values. Times in ms, sizes in bytes. */
export interface Settings {
  readonly space: string
  readonly ttl: number
  readonly packFrom: number
  readonly serializer: DataSerializer | undefined
  /** Bytes of the cache in this process; 0: none. */
  readonly near: number
}

/** How a value is kept. */
export interface Keeping {
  readonly ttl: number
  readonly tags: readonly string[]
  readonly staleFor: number
  readonly errorFor: number
}

/** How a value is loaded. */
export interface Loading<Value> extends Omit<Keeping, 'tags'> {
  readonly wait: number
  readonly lease: number
  tagsOf(value: Value): readonly string[]
}
