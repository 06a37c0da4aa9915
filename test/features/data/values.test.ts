/** Values of `tp.data`: a miss returns what a hit returns, and what cannot be kept is an error. */
import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeValue, encodeValue } from '../../../src/features/data/value.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

const anything = fc.anything({
  maxDepth: 4,
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
})
const odd = fc.constantFrom<unknown>(
  '\ud800',
  { '\udfff': '\ud800x' },
  { $date: 0 },
  { $$: { $undefined: true } },
  { $null: {} },
  JSON.parse('{"__proto__":{"a":1}}'),
  { toJSON: 1 },
  new Date(NaN),
  /a(b)/giu,
  new URL('https://user:pass@a.example/?q=ü#h'),
  new ArrayBuffer(3),
  new Uint8Array([1, 2]),
  Buffer.from([0, 255]),
  Buffer.alloc(5_000, 'x'),
  [undefined, null, NaN, -0, Infinity, 10n ** 30n],
  new Map<unknown, unknown>([[{ a: 1 }, new Set([new Map()])]]),
  new Error('x'),
  Symbol('x'),
  () => 1,
  new URLSearchParams('a=1'),
  { promise: Promise.resolve(1) },
  new WeakMap(),
  Object.assign([1], { extra: 1 }),
  Object.assign(new Date(0), { extra: 1 }),
  Object.defineProperty({ a: 1 }, 'hidden', { value: 1 }),
  { [Symbol('key')]: 1 },
  new (class Point {
    #x = 1
    get x() {
      return this.#x
    }
  })(),
  new (class Secret {
    #x = 1
    static read(secret: Secret) {
      return secret.#x
    }
  })(),
)
const value = fc.oneof(
  { weight: 4, arbitrary: anything },
  { weight: 2, arbitrary: odd },
  { weight: 1, arbitrary: fc.record({ a: odd, b: fc.array(odd) }) },
)

/** Node takes two invalid dates for different. */
const isSame = (a: unknown, b: unknown): boolean =>
  isDeepStrictEqual(a, b) ||
  (inspect(a).includes('Invalid Date') &&
    inspect(a, { depth: Infinity }) === inspect(b, { depth: Infinity }))

/** What a promise comes to: its value, or the code of its error. */
const outcomeOf = async (promise: Promise<unknown>): Promise<{ value?: unknown; code?: string }> =>
  await promise.then(
    (value) => ({ value }),
    (error: { code: string }) => ({ code: error.code }),
  )

describe.each(bothEngines())('tp.data on the $name engine', ({ open }) => {
  test('for every value a miss equals a hit, and both equal the value; or an error says why not', async () => {
    console.log(`values of tp.data: SEED=${SEED}`)
    const { store, prefix } = open()
    const writer = turnpike({ store, prefix }).data
    const reader = turnpike({ store, prefix }).data
    let id = 0
    let refused = 0
    const check = async (original: unknown): Promise<void> => {
      const key = `key ${++id}`
      const miss = await outcomeOf(writer.getOrFetch(key, () => original))
      if (miss.code !== undefined) {
        refused++
        expect(miss.code).toBe('TP_VALUE')
        expect(await outcomeOf(writer.set(key, original))).toEqual({ code: 'TP_VALUE' })
        expect(await reader.get(key)).toBeUndefined()
        return
      }
      expect(isSame(miss.value, original)).toBe(true)
      if (original === undefined) return
      // Stored behind the miss; written again, so that there is nothing to wait for.
      await writer.set(key, original)
      const hit = await reader.get(key)
      expect(isSame(hit, miss.value)).toBe(true)
      if (typeof original === 'object' && original !== null) expect(miss.value).not.toBe(original)
    }
    await fc.assert(fc.asyncProperty(value, check), { seed: SEED, numRuns: 1_500 })
    expect(refused).toBeGreaterThan(50)
    expect(refused).toBeLessThan(1_000)
  })
})

const embedding = Float32Array.from({ length: 1536 }, (_, i) => Math.sin(i))

describe.each(bothEngines())('typed arrays on the $name engine', ({ open }) => {
  test('an embedding comes back bit by bit, from a part of a larger buffer as well', async () => {
    const { store, prefix } = open()
    const [writer, reader] = [turnpike({ store, prefix }).data, turnpike({ store, prefix }).data]
    const odd = new Uint8Array(embedding.byteLength + 5)
    const values = {
      embedding,
      part: embedding.subarray(3, 10),
      nothing: new Float64Array(0),
      bits: new Float32Array([NaN, -0, Infinity, 1e-45]),
      unaligned: odd.subarray(5),
      big: BigInt64Array.of(-1n, 2n ** 62n),
      clamped: Uint8ClampedArray.of(0, 255),
    }
    await writer.setMany(values)
    for (const [name, original] of Object.entries(values)) {
      const found = await reader.get<typeof original>(name)
      expect(isSame(found, original), name).toBe(true)
      // All memory of the value is its own.
      expect(found!.buffer.byteLength).toBe(original.byteLength)
    }
    expect(await reader.getMany(['embedding', 'bits'])).toEqual([embedding, values.bits])
  })

  test('a miss is a copy, and changing it changes nothing', async () => {
    const { store, prefix } = open()
    const { data } = turnpike({ store, prefix })
    const own = Float32Array.of(1, 2)
    const miss = await data.getOrFetch('v', () => own)
    miss[0] = 7
    own[1] = 7
    await data.set('v', own)
    expect(await data.get('v')).toEqual(Float32Array.of(1, 7))
    const near = data.namespace('near', { near: true })
    await near.set('v', own)
    const first = await near.get<Float32Array>('v')
    first![0] = 9
    expect(await near.get('v')).toEqual(Float32Array.of(1, 7))
  })
})

test('a typed array is stored as its bytes, and nothing else of it is lost silently', async () => {
  const { body, form } = await encodeValue(embedding, 1024, undefined)
  expect(form).toEqual({ kind: 'array', array: 'Float32Array', isPacked: false, length: 6144 })
  expect(body.equals(Buffer.from(embedding.buffer))).toBe(true)
  const { data } = turnpike({ store: testStore() })
  class Vector extends Float32Array {}
  for (const value of [Object.assign(Float32Array.of(1), { model: 'x' }), new Vector(2)])
    await expect(data.set('v', value)).rejects.toMatchObject({ code: 'TP_VALUE' })
})

test('bytes that are none of the array are no value', async () => {
  const form = { kind: 'array', isPacked: false, length: 6 } as const
  const body = Buffer.alloc(6)
  for (const array of ['Float32Array', 'Vector', 'constructor', ''])
    await expect(decodeValue({ ...form, array }, body, undefined)).rejects.toThrow()
  await expect(decodeValue(form, body, undefined)).rejects.toThrow()
})

test("a namespace's own serializer gets typed arrays", async () => {
  const serializer = {
    serialize: (value: unknown) => `[${String(value)}]`,
    deserialize: (bytes: Buffer) => bytes.toString(),
  }
  const data = turnpike({ store: testStore() }).data.namespace('own', { serializer })
  await data.set('v', Float32Array.of(1, 2))
  expect(await data.get('v')).toBe('[1,2]')
})

test('two different values have different hashes, or an error says why not', () => {
  const { data } = turnpike({ store: testStore() })
  const hashOf = (value: unknown): string | undefined => {
    try {
      return data.hash(value)
    } catch (error) {
      expect((error as { code: string }).code).toBe('TP_VALUE')
      return undefined
    }
  }
  fc.assert(
    fc.property(value, value, (a, b) => {
      const [one, other] = [hashOf(a), hashOf(b)]
      if (one === undefined || other === undefined) return
      if (!isSame(a, b)) expect(one).not.toBe(other)
    }),
    { seed: SEED, numRuns: 5_000 },
  )
})

test.each<[string, unknown, unknown]>([
  ['URLs', new URL('http://a.example/1'), new URL('http://a.example/2')],
  ['patterns', /a/, /b/],
  ['flags of patterns', /a/, /a/i],
  ['dates', new Date(1), new Date(2)],
  ['maps', new Map([[1, 1]]), new Map([[1, 2]])],
  ['sets', new Set([1]), new Set(['1'])],
  ['bytes', new Uint8Array([1]), new Uint8Array([2])],
  ['kinds of bytes', new Uint8Array([1]), new Int8Array([1])],
  ['bigints and numbers', 1n, 1],
  ['an undefined property and none', { a: undefined }, {}],
  ['a missing argument and undefined', [1], [1, undefined]],
])('arguments are told apart: %s', async (_what, a, b) => {
  const { data } = turnpike({ store: testStore() })
  let calls = 0
  const wrapped = data.wrap((_argument: unknown) => ++calls, { name: 'f' })
  await wrapped(a)
  await wrapped(b)
  await wrapped(a)
  expect(calls).toBe(2)
})

test('arguments with toJSON are told apart by it: ObjectId, Decimal', async () => {
  class ObjectId {
    readonly #id: string
    constructor(id: string) {
      this.#id = id
    }
    toJSON() {
      return this.#id
    }
  }
  const { data } = turnpike({ store: testStore() })
  const wrapped = data.wrap((id: ObjectId) => id.toJSON(), { name: 'find' })
  expect([await wrapped(new ObjectId('a')), await wrapped(new ObjectId('b'))]).toEqual(['a', 'b'])
  expect(data.hash(new ObjectId('a'))).not.toBe(data.hash('a'))
})

test.each<[string, unknown]>([
  [
    'an instance with private fields',
    new (class Account {
      #owner = 'ann'
      owner() {
        return this.#owner
      }
    })(),
  ],
  ['a function', () => 1],
  ['a symbol', Symbol('a')],
  ['an error', new Error('a')],
  ['a promise', Promise.resolve()],
  ['search parameters', new URLSearchParams('a=1')],
])('%s cannot be an argument', async (_what, argument) => {
  const { data } = turnpike({ store: testStore() })
  const wrapped = data.wrap((_argument: unknown) => 1, { name: 'f' })
  await expect(wrapped(argument)).rejects.toMatchObject({
    code: 'TP_VALUE',
    message: expect.stringContaining('key function'),
  })
})

test('rows of a database driver come back as plain objects, from the miss on', async () => {
  class RowDataPacket {
    readonly id: number
    constructor(id: number) {
      this.id = id
    }
  }
  const { data } = turnpike({ store: testStore() })
  const load = () => [new RowDataPacket(1)]
  for (let i = 0; i < 2; i++) expect(await data.getOrFetch('rows', load)).toStrictEqual([{ id: 1 }])
})

describe('functions that share a name', () => {
  const dataOf = () => turnpike({ store: testStore() }).data

  test('are refused: they would return each other’s results', () => {
    const data = dataOf()
    data.wrap(async function load() {
      return 'users'
    })
    expect(() =>
      data.wrap(async function load() {
        return 'orders'
      }),
    ).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
    expect(() => data.wrap(() => 1, { name: 'load' })).toThrow(/another function/)
  })

  test('may be one function twice, in other namespaces, or with a key of their own', () => {
    const data = dataOf()
    const load = () => 1
    data.wrap(load)
    data.wrap(load)
    const other = { load: () => 2 }.load
    data.namespace('other').wrap(other)
    data.wrap(other, { key: () => 'own' })
    data.wrap(other, { name: 'other' })
  })

  test('without a name need one', () => {
    expect(() =>
      dataOf().wrap(
        (
          () => () =>
            1
        )(),
      ),
    ).toThrow(expect.objectContaining({ code: 'TP_OPTION', option: 'name' }))
  })
})

describe('a loader that asks for its own value', () => {
  test('is told so at once', async () => {
    const { data } = turnpike({ store: testStore() })
    const load = async (): Promise<unknown> => {
      await new Promise((resolve) => setImmediate(resolve))
      return await data.getOrFetch('a', load)
    }
    await expect(data.getOrFetch('a', load, { wait: '5m' })).rejects.toMatchObject({
      code: 'TP_VALUE',
      message: expect.stringContaining("'a'"),
    })
    expect(await data.getOrFetch('a', () => 1)).toBe(1)
  })

  test('through another loader is told so, too', async () => {
    const { data } = turnpike({ store: testStore() })
    const b = (): Promise<unknown> => data.getOrFetch('a', () => 1)
    const a = (): Promise<unknown> => data.getOrFetch('b', b)
    await expect(data.getOrFetch('a', a)).rejects.toMatchObject({ code: 'TP_VALUE' })
  })

  test('may ask for others, and other callers still wait for it', async () => {
    const { data } = turnpike({ store: testStore() })
    let loads = 0
    const load = async (): Promise<unknown> => {
      loads++
      return await data.getOrFetch('b', () => 'b')
    }
    const values = await Promise.all(Array.from({ length: 20 }, () => data.getOrFetch('a', load)))
    expect([new Set(values), loads]).toEqual([new Set(['b']), 1])
  })
})

describe('ttl as a function of the value', () => {
  test('decides for how long, and whether at all', async () => {
    const store = testStore()
    const { data } = turnpike({ store })
    let loads = 0
    const token = (seconds: number) => () => ({ seconds, n: ++loads })
    const options = { ttl: ({ seconds }: { seconds: number }) => seconds * 1000 }
    await data.getOrFetch('a', token(10), options)
    await store.advance('9s')
    expect((await data.getOrFetch('a', token(10), options)).n).toBe(1)
    await store.advance('1s')
    expect((await data.getOrFetch('a', token(10), options)).n).toBe(2)
    await data.getOrFetch('never', token(0), options)
    expect((await data.getOrFetch('never', token(0), options)).n).toBe(4)
  })

  test('that returns no duration is an error, not a value for ever', async () => {
    const { data } = turnpike({ store: testStore() })
    await expect(data.getOrFetch('a', () => 1, { ttl: () => NaN })).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
    expect(await data.get('a')).toBeUndefined()
  })
})

describe('a loader that keeps failing', () => {
  test('is not called again at once while there is an old value', async () => {
    const store = testStore()
    const { data } = turnpike({ store })
    let loads = 0
    const options = { ttl: '10s', staleWhileRevalidate: '1h', staleIfError: '2h' } as const
    await data.getOrFetch('a', () => 'old', options)
    await store.advance('11s')
    const fail = () => {
      loads++
      throw new Error('down')
    }
    for (let i = 0; i < 60; i++) {
      expect(await data.getOrFetch('a', fail, options)).toBe('old')
      await new Promise((resolve) => setImmediate(resolve))
      await store.advance('1s')
    }
    // After 1, 2, 4, 8, 16 and 32 s.
    expect(loads).toBeLessThanOrEqual(7)
    expect(loads).toBeGreaterThan(3)
    await store.advance('1m')
    expect(await data.getOrFetch('a', () => 'new', options)).toBe('old')
    await expect.poll(() => data.getOrFetch('a', fail, options)).toBe('new')
  })

  test('does not hide an error of the program behind an old value', async () => {
    const store = testStore()
    const { data } = turnpike({ store })
    const options = { ttl: '10s', staleIfError: '1h' } as const
    await data.getOrFetch<unknown>('a', () => 'old', options)
    await store.advance('11s')
    await expect(data.getOrFetch<unknown>('a', () => Symbol('x'), options)).rejects.toMatchObject({
      code: 'TP_VALUE',
    })
  })
})

test('attack: a stored value that expands without end is a miss, not memory', async () => {
  const { gzipSync } = await import('node:zlib')
  const store = testStore()
  const { data } = turnpike({ store })
  await data.set('a', 'x'.repeat(5_000))
  const key = (await allKeys(store))[0]!
  const { decodeEntry, encodeEntry } = await import('../../../src/caching/entry.ts')
  const entry = decodeEntry((store as any).get(key))!
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  ;(store as any).set(key, encodeEntry({ ...entry, body: bomb }), 60_000)
  const before = process.memoryUsage().arrayBuffers
  expect(await data.get('a')).toBeUndefined()
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000)
})

async function allKeys(store: ReturnType<typeof testStore>): Promise<string[]> {
  const keys: string[] = []
  for await (const batch of store.scan('*:data:*')) keys.push(...batch)
  return keys
}
