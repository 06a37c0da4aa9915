/** What a process keeps stays within its bound, however many names clients make up. */
import { describe, expect, test } from 'vitest'
import { EventBus } from '../../src/events.ts'
import { KeyUses } from '../../src/extensions/tokens/api-keys/key-uses.ts'
import { KnownKeys } from '../../src/extensions/tokens/api-keys/known-keys.ts'
import { MissLimit } from '../../src/extensions/tokens/api-keys/miss-limit.ts'
import { NameClaims } from '../../src/name-claims.ts'

describe('attack: made-up API keys', () => {
  test('known keys are as many as they may be, and the oldest go', () => {
    const keys = new KnownKeys(3)
    for (let i = 0; i < 10; i++) keys.set(`k${i}`, { key: undefined, expiresAt: Infinity }, 100)
    expect(keys.size).toBe(3)
    expect([keys.get('k6', 0), keys.get('k7', 0)]).toEqual([undefined, expect.anything()])
  })

  test('addresses whose lookups are counted are 10,000 at most, and the oldest go', () => {
    const limit = new MissLimit(1)
    limit.begin('first', 0)(false)
    expect(limit.waitOf('first', 1)).toBeGreaterThan(0)
    for (let i = 0; i < 9_999; i++) limit.begin(`a${i}`, 0)(false)
    expect(limit.waitOf('first', 1)).toBeGreaterThan(0)
    limit.begin('another', 0)(false)
    expect(limit.waitOf('first', 1)).toBe(0)
    expect(limit.waitOf('another', 1)).toBeGreaterThan(0)
  })

  test('uses that were noted are as many as they may be: the oldest is noted again', () => {
    const noted: string[] = []
    const store = {
      monotonic: () => 0,
      unavailable: () => undefined,
      run: async (_: unknown, [key]: string[]) => (noted.push(key!), 0),
    }
    const context = { store, keys: { key: (_: string, tag: string) => tag }, events: undefined }
    const uses = new KeyUses(context as never, { name: 'k', maxKeys: 2, onUsed: undefined })
    const found = { digest: '', by: {}, record: {} }
    for (const tag of ['a', 'b', 'b', 'c', 'c', 'a']) uses.note(found, tag)
    expect(noted).toEqual(['a', 'b', 'c', 'a'])
  })
})

test('attack: names made from what clients send are compared up to 10,000, and then let through', () => {
  const claims = new NameClaims(new EventBus())
  const claim = (name: string, limit: number): void =>
    claims.claim({ where: 'w', kind: 'rate limit', name, isExplicit: true, settings: { limit } })
  for (let i = 0; i < 10_000; i++) claim(`n${i}`, 1)
  expect(() => claim('n5', 2)).toThrow(/n5/)
  for (const limit of [1, 2]) claim('one too many', limit)
})
