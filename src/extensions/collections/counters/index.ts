/** Counters: `counters()`. */
import { durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import {
  identifier,
  integer,
  isFunction,
  isListOf,
  isObject,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import { Collection, type CollectionCallOptions, type ItemId } from '../collection.ts'
import { removeKey } from '../operations.ts'
import { CounterBuffer } from './buffer.ts'
import type { Counters, CountersOptions, Counts } from './options.ts'

const MAX_FIELDS = 64
const MAX_INCREMENT = 1e12

const OPTIONS: Record<string, Validator> = {
  ttl: durationValidator,
  flush: durationValidator,
  maxPending: integer(1, 1_000_000),
  fields: {
    expected: `a list of 1 to ${MAX_FIELDS} names of ${identifier.expected}`,
    accepts: (value) => isListOf(value, identifier.accepts, 1, MAX_FIELDS),
  },
  derived: {
    expected: 'an object of functions by name',
    accepts: (value) => isObject(value) && Object.values(value).every(isFunction),
  },
}

/** @throws TP_OPTION for an option that cannot be used */
export function createCounters<Field extends string, Derived extends string>(
  context: ExtensionContext,
  name: string,
  options: CountersOptions<Field, Derived> = {},
): Counters<Field, Derived> {
  validateOptions('counters()', options, OPTIONS)
  const { ttl = '1d', flush = '1s', fields, derived, maxPending = 10_000 } = options
  const collection = new Collection(context, 'counters', name, { ttl })
  const buffer = new CounterBuffer(collection, {
    ttl: collection.ttl(ttl),
    interval: collection.ttl(flush, 'flush', 0),
    maxPending,
    maxFields: MAX_FIELDS,
  })
  const known = fields && new Set<string>(fields)
  const computed = Object.entries(derived ?? {}) as [string, (counts: Counts<Field>) => number][]

  const keysOf = (id: ItemId, call: CollectionCallOptions, method: string): string[] =>
    collection.keys(method, call, [collection.item(id, method)], [buffer.id])

  function checked(increments: unknown): [string, number][] {
    if (!isObject(increments)) throw valueError('add() takes increments by field: { clicks: 1 }.')
    const entries = Object.entries(increments).filter(([, by]) => by !== undefined)
    if (entries.length > MAX_FIELDS)
      throw valueError(`add() takes up to ${MAX_FIELDS} fields at once.`)
    for (const [field, by] of entries) {
      if (known ? !known.has(field) : !identifier.accepts(field))
        throw valueError(
          `there is no field ${JSON.stringify(field).slice(0, 60)}. A field is ${known ? `one of ${[...known].join(', ')}` : identifier.expected}.`,
        )
      collection.integer(by, -MAX_INCREMENT, MAX_INCREMENT, 'add', `the increment of ${field}`)
    }
    return entries as [string, number][]
  }
  const valueError = (rule: string): TurnpikeError =>
    new TurnpikeError('TP_VALUE', `${collection.where}: ${rule}`)

  function withDerived(read: Map<string, number>): Counts<Field | Derived> {
    const zeros = (fields ?? []).map((field): [string, number] => [field, 0])
    const counts = Object.fromEntries([...zeros, ...read]) as Counts<Field>
    const values = computed.map(([field, compute]): [string, number] => {
      const value = compute(counts)
      return [field, Number.isFinite(value) ? value : 0]
    })
    return Object.fromEntries([...Object.entries(counts), ...values]) as Counts<Field | Derived>
  }

  return {
    add(id, increments, call = {}) {
      buffer.add(keysOf(id, call, 'add'), checked(increments))
    },
    get: async (id, call = {}) => withDerived(await buffer.read(keysOf(id, call, 'get'))),
    async reset(id, call = {}) {
      const keys = keysOf(id, call, 'reset')
      await buffer.drop(keys)
      return (await context.store.run(removeKey, [keys[0]!], [])) === 1
    },
    flush: () => buffer.flush(),
  }
}
