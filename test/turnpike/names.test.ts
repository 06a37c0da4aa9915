/** Two limits with one name share their state, so they must have the same settings. */
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { extension, type ExtensionContext } from '../../src/extension.ts'
import { testStore } from '../../src/testing.ts'

function open() {
  const tp = turnpike({ store: testStore() })
  const warnings: string[] = []
  tp.on('warning', ({ message }) => warnings.push(message))
  return { tp, warnings }
}

const taken = expect.objectContaining({ code: 'TP_OPTION', option: 'name' })

describe('one explicit name', () => {
  test('with the same settings is one limit in two places', () => {
    const { tp, warnings } = open()
    for (let i = 0; i < 2; i++) tp.rateLimit({ name: 'api', limit: 5, window: '1m' })
    tp.limiter('api', { limit: 5, window: '60s' })
    expect(warnings).toEqual([])
  })

  test.each([
    ['limit', { limit: 6, window: '1m' }, '5 there, 6 here'],
    ['window', { limit: 5, window: '2m' }, '60000 there, 120000 here'],
    ['algorithm', { limit: 5, window: '1m', algorithm: 'gcra' }, 'there'],
    ['limit', { limit: () => 5, window: '1m' }, '5 there, a function here'],
    [
      'limit',
      {
        policies: [
          { name: 'a', limit: 5, window: '1m' },
          { name: 'b', limit: 5, window: '1h' },
        ],
      },
      'none here',
    ],
  ] as const)('with another %s is refused where the second is made', (option, second, shown) => {
    const { tp } = open()
    tp.rateLimit({ name: 'api', limit: 5, window: '1m' })
    const make = (): unknown => tp.rateLimit({ name: 'api', ...second } as never)
    expect(make).toThrow(taken)
    expect(make).toThrow(/the name 'api' belongs to a rate limit/)
    expect(make).toThrow(option)
    expect(make).toThrow(shown)
  })

  test('is refused for tp.limiter(), which shares the counts of a mount with its name', () => {
    const { tp } = open()
    tp.rateLimit({ name: 'api', limit: 5, window: '1m' })
    expect(() => tp.limiter('api', { limit: 6, window: '1m' })).toThrow(taken)
  })

  test('may have other settings for another tenant, and in another instance', () => {
    const tp = turnpike({ store: testStore(), tenant: () => 'a' })
    for (const [i, tenant] of ['a', 'b'].entries())
      tp.forTenant(tenant).limiter('api', { limit: i + 1, window: '1m' })
    open().tp.limiter('api', { limit: 9, window: '1m' })
  })

  test('of a login guard may also be that of a rate limit', () => {
    const { tp, warnings } = open()
    tp.rateLimit({ name: 'login', limit: 5, window: '1m' })
    tp.loginGuard({ key: () => 'a' })
    expect(() => tp.loginGuard({ name: 'login', key: () => 'a', limit: 9 })).toThrow(taken)
    expect(warnings).toEqual([])
  })
})

describe('a derived name', () => {
  test('of two limits is reported once, with the option to set', () => {
    const { tp, warnings } = open()
    for (let i = 0; i < 3; i++) tp.rateLimit({ limit: 5, window: '1m' })
    expect(warnings).toEqual([expect.stringContaining("two rate limits have the name '5-1m'")])
    expect(warnings[0]).toContain("{ name: '…' }")
  })

  test('two login guards without names are reported', () => {
    const { tp, warnings } = open()
    for (const limit of [5, 9]) tp.loginGuard({ key: () => 'a', limit })
    expect(warnings).toEqual([expect.stringContaining("two login guards have the name 'login'")])
  })

  test('of two concurrency limits is reported, if they have the same settings', () => {
    const { tp, warnings } = open()
    tp.concurrency({ limit: 5 })
    tp.concurrency({ limit: 6 })
    tp.concurrency({ limit: 5, key: () => 'a' })
    tp.concurrency({ limit: 5, name: 'exports' })
    expect(warnings).toEqual([])
    for (let i = 0; i < 2; i++) tp.concurrency({ limit: 5 })
    expect(warnings).toEqual([expect.stringContaining("two concurrency limits have the name '5'")])
    expect(() => tp.concurrency({ limit: 6, name: 'exports' })).toThrow(taken)
    expect(() => tp.concurrency({ limit: 5, fair: true, name: 'exports' })).toThrow(taken)
  })

  test('that equals an explicit name with other settings is refused', () => {
    const { tp } = open()
    tp.rateLimit({ name: '5-1m', limit: 9, window: '1m' })
    expect(() => tp.rateLimit({ limit: 5, window: '1m' })).toThrow(taken)
  })
})

test('names made from client input do not fill the memory, and are accepted', () => {
  const { tp } = open()
  const context = extension(tp, 'greetings', (own): ExtensionContext => own)
  const claim = (i: number, size: number): void =>
    context.claimName({
      where: 'greetings()',
      kind: 'greeting',
      name: `n${i}`,
      isExplicit: true,
      settings: { size },
    })
  for (let i = 0; i < 20_000; i++) claim(i, 1)
  expect(() => claim(0, 2)).toThrow(taken)
  claim(19_999, 2)
})
