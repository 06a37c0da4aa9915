import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../../src/features/idempotency/canonical-json.ts'
import { fingerprintOf, type BodyView } from '../../../src/features/idempotency/fingerprint.ts'

const JSON_TYPE = 'application/json; charset=utf-8'
const raw = (text: string): BodyView => ({
  kind: 'raw',
  bytes: Buffer.from(text),
  isWhole: true,
  length: String(text.length),
})
const parsed = (value: unknown): BodyView => ({ kind: 'parsed', value })
const of = (body: BodyView, type: string | undefined = JSON_TYPE, target = '/'): string =>
  fingerprintOf(target, type, body, 'body')

test('JSON is compared by what it says, whether or not a parser was there', () => {
  expect(of(raw('{"a":1,"b":2}'))).toBe(of(raw(' {"b":2, "a":1.0}')))
  expect(of(raw('{"a":1}'))).toBe(of(parsed({ a: 1 })))
  expect(of(raw('{"a":1}'))).not.toBe(of(raw('{"a":2}')))
  expect(of(raw('[1,2]'), 'application/vnd.api+json')).toBe(
    of(parsed([1, 2]), 'application/vnd.api+json'),
  )
  expect(fingerprintOf('/', 'text/plain', raw('{"a":1}'), 'json')).toBe(
    fingerprintOf('/', 'text/plain', raw('{ "a": 1 }'), 'json'),
  )
})

test('what is no JSON is compared by its bytes', () => {
  expect(of(raw('{"a":1,"b":2}'), 'text/plain')).not.toBe(of(raw('{"b":2,"a":1}'), 'text/plain'))
  expect(of(raw('not json'))).not.toBe(of(raw('not  json')))
  expect(of(raw(''))).not.toBe(of(raw('null')))
})

test('bytes never equal what a parser made; another target or media type is another request', () => {
  expect(of(raw('{"a":1}'), 'text/plain')).not.toBe(of(parsed({ a: 1 }), 'text/plain'))
  expect(of(raw(''), undefined, '/a')).not.toBe(of(raw(''), undefined, '/b'))
  expect(of(raw('b'), undefined, '/a')).not.toBe(of(raw(''), undefined, '/ab'))
  expect(of(raw('a=1'), 'text/plain')).not.toBe(of(raw('a=1'), 'application/x-www-form-urlencoded'))
  expect(of(raw('1'), 'application/json')).toBe(of(raw('1'), 'Application/JSON;charset=utf-8'))
})

test('a body that was cut is not a whole one, and has its length', () => {
  const cut: BodyView = { kind: 'raw', bytes: Buffer.from('x'), isWhole: false, length: '10' }
  expect(of(cut)).not.toBe(of({ ...cut, length: '11' }))
  expect(of(cut)).not.toBe(of(raw('x')))
})

describe('multipart', () => {
  const CRLF = '\r\n'
  const form = (boundary: string, parts: readonly string[]): string =>
    [...parts.map((part) => `--${boundary}${CRLF}${part}`), `--${boundary}--${CRLF}`].join(CRLF)
  const typeOf = (boundary: string): string => `multipart/form-data; boundary=${boundary}`
  const field = (name: string, value: string): string =>
    `Content-Disposition: form-data; name="${name}"${CRLF}${CRLF}${value}`
  const print = (boundary: string, parts: readonly string[], limit = Infinity): string => {
    const bytes = Buffer.from(form(boundary, parts))
    return of(
      {
        kind: 'raw',
        bytes: bytes.subarray(0, Math.min(bytes.length, limit)),
        isWhole: bytes.length <= limit,
        length: String(bytes.length),
      },
      typeOf(boundary),
    )
  }
  const parts = [field('title', 'Report'), field('file', 'x'.repeat(5000))]

  test('another boundary is the same form, another value is another form', () => {
    const first = print('----WebKitFormBoundaryAAAAAAAAAAAAAAAA', parts)
    expect(print('----geckoformboundary8c9d', parts)).toBe(first)
    expect(print('x', parts)).toBe(first)
    expect(print('x', [parts[0]!, field('file', `${'x'.repeat(4999)}y`)])).not.toBe(first)
    expect(print('x', [parts[1]!, parts[0]!])).not.toBe(first)
    expect(print('x', [parts[0]!])).not.toBe(first)
    expect(of(raw(form('x', parts)), 'multipart/form-data; boundary="x"')).toBe(first)
  })

  test('parts cannot be moved into one another', () => {
    expect(print('x', ['ab', 'c'])).not.toBe(print('x', ['a', 'bc']))
    expect(print('x', ['part 1a'])).not.toBe(print('x', ['part 1', 'a']))
  })

  test('of a long form the beginning is compared, and the length without boundaries', () => {
    const first = print('a'.repeat(40), parts, 1000)
    expect(print('b'.repeat(40), parts, 1000)).toBe(first)
    expect(print('b'.repeat(57), parts, 1000)).toBe(first)
    expect(print('b'.repeat(40), [parts[0]!, field('file', 'x'.repeat(5001))], 1000)).not.toBe(
      first,
    )
    expect(print('b'.repeat(40), [field('title', 'Repord'), parts[1]!], 1000)).not.toBe(first)
  })

  test('a form of nothing but boundaries costs no more than its length', () => {
    const bytes = Buffer.from('--a'.repeat(300_000))
    const body: BodyView = { kind: 'raw', bytes, isWhole: true, length: String(bytes.length) }
    let updates = 0
    const indexOf = bytes.indexOf.bind(bytes)
    bytes.indexOf = ((...args: Parameters<typeof indexOf>) => {
      updates++
      return indexOf(...args)
    }) as typeof bytes.indexOf
    expect(of(body, typeOf('a'))).toMatch(/^[\w-]{43}$/)
    expect(updates).toBeLessThanOrEqual(1000)
  })

  test('files behind a parser are compared by field, name, size and content', () => {
    const file = { field: 'file', name: 'a.pdf', size: 3, content: 'digest' }
    const print = (change: object): string =>
      of({ kind: 'parsed', value: { title: 'x' }, files: [{ ...file, ...change }] }, typeOf('x'))
    expect(print({})).toBe(print({}))
    for (const change of [{ field: 'f' }, { name: 'b' }, { size: 4 }, { content: 'other' }])
      expect(print(change)).not.toBe(print({}))
    expect(of(parsed({ title: 'x' }), typeOf('x'))).not.toBe(print({}))
  })
})

describe('canonical JSON', () => {
  test('the order of members does not count, everything else does', () => {
    const shuffled = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(shuffled)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .toReversed()
                .map(([name, each]) => [name, shuffled(each)]),
            )
          : value
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const value = JSON.parse(JSON.stringify(one)) as unknown
        const text = canonicalJson(value)
        expect(canonicalJson(shuffled(value))).toBe(text)
        expect(JSON.parse(text)).toEqual(value)
        if (canonicalJson(other) === text) expect(JSON.parse(JSON.stringify(other))).toEqual(value)
      }),
    )
    expect(canonicalJson(JSON.parse('{"__proto__":1}'))).not.toBe(canonicalJson({}))
  })

  test('what parsers make of bodies is serialized as JSON.stringify does', () => {
    const value = {
      b: [undefined, null, Number.NaN, new Date(0)],
      a: undefined,
      c: Object.assign(Object.create(null), { x: 1n }) as object,
    }
    expect(canonicalJson(value)).toBe(
      '{"b":[null,null,null,"1970-01-01T00:00:00.000Z"],"c":{"x":1}}',
    )
    expect(canonicalJson({ a: [value.c, value.c] })).toBe('{"a":[{"x":1},{"x":1}]}')
  })

  test('a body of any depth is compared, and one that contains itself is refused', () => {
    const depth = 100_000
    const deep = JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown
    expect(canonicalJson(deep)).toBe('['.repeat(depth) + ']'.repeat(depth))
    expect(of(parsed(deep))).toBe(of(raw('['.repeat(depth) + ']'.repeat(depth))))
    const loop: { self?: unknown; again?: unknown } = {}
    loop.self = [loop]
    loop.again = loop
    expect(() => canonicalJson(loop)).toThrow(TypeError)
    expect(of(parsed(loop))).toMatch(/^[\w-]{43}$/)
  })
})
