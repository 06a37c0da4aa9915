/** The audit of changes: the script and its twin reply alike, and what is kept is bounded. */
import fc from 'fast-check'
import { expect, it, test } from 'vitest'
import {
  appendAudit,
  appendAuditEntry,
  auditKey,
  MAX_AUDIT_ENTRIES,
  parseAuditEntry,
} from '../../src/operations/audit.ts'
import { createKeySpace } from '../../src/store/keys.ts'
import { startRedis } from '../../src/testing.ts'
import { differential, START } from '../support/differential.ts'
import { openStore } from '../support/stores.ts'

test('random sequences: the script and its twin reply alike', async () => {
  await differential({
    name: 'audit',
    operations: [appendAuditEntry],
    step: fc.record({
      entry: fc.constantFrom('["a","","b","c"]', ''),
      most: fc.integer({ min: 1, max: 4 }),
      ms: fc.constantFrom(0, 1, 999, 1000, 5000),
    }),
    channel: (id) => `none:${id}`,
    play(steps, id, run) {
      let now = START
      for (const { entry, most, ms } of steps) {
        now += ms
        run({
          operation: appendAuditEntry,
          keys: [`audit:{${id}}`],
          args: [entry, most, 86_400_000],
          now,
        })
      }
    },
  })
}, 60_000)

it('keeps the newest entries, each bounded, and expires', async () => {
  const server = await startRedis()
  try {
    const { store } = openStore({ source: server.url, commandTimeout: 5000 })
    const keys = createKeySpace('shop', undefined, 'operations')
    const long = 'x'.repeat(10_000)
    for (let i = 0; i < MAX_AUDIT_ENTRIES + 5; i++)
      await appendAudit(store, keys, { by: `p${i}`, reason: long, action: 'a', subject: 's' })
    expect(await server.send('LLEN', auditKey(keys))).toBe(`:${MAX_AUDIT_ENTRIES}\r\n`)
    expect(await server.send('LINDEX', auditKey(keys), '0')).toContain(`p${MAX_AUDIT_ENTRIES + 4}`)
    expect(await server.send('STRLEN', auditKey(keys))).toContain('WRONGTYPE')
    const size = Number(/\d+/.exec(await server.send('MEMORY', 'USAGE', auditKey(keys)))![0])
    expect(size).toBeLessThan(MAX_AUDIT_ENTRIES * 1000)
    expect(Number(/\d+/.exec(await server.send('TTL', auditKey(keys)))![0])).toBeGreaterThan(
      399 * 86_400,
    )
  } finally {
    await server.stop()
  }
})

it('reads nothing from what it has not written', () => {
  expect(parseAuditEntry('1000 ["ann","","locks break","nightly"]')).toEqual({
    at: 1000,
    by: 'ann',
    reason: undefined,
    action: 'locks break',
    subject: 'nightly',
  })
  for (const text of [
    '',
    'x',
    '1000',
    '1000 {}',
    '1000 [1,2,3,4]',
    '1000 ["a"]',
    'NaN ["a","b","c","d"]',
  ])
    expect(parseAuditEntry(text)).toBeUndefined()
})
