/** Rules against clients and strangers that look for a way around them. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { CONTEXT } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { RuleReplica } from '../../src/operations/control/rule-replica.ts'
import { startRedis, testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'

const WHY = { by: 'ann', reason: 'a test' }
const KEY = 'tp:operations:rules:{all}'

describe.each(apps.filter(({ name }) => name !== 'node:http'))(
  'behind a proxy on $name',
  (kind) => {
    test('a denied client is refused in every spelling of its address, and cannot write another one', async () => {
      const app = kind.start({
        options: { store: testStore() },
        mount: (tp) => [tp.gate()],
        trustProxy: 1,
      })
      onTestFinished(() => app.tp.close())
      await app.tp.control.deny('203.0.113.7', WHY)
      await app.tp.control.deny('2001:db8::/32', WHY)
      for (const forwarded of [
        '203.0.113.7',
        ' 203.0.113.7 ',
        '198.51.100.1, 203.0.113.7',
        '127.0.0.1, ::1, 203.0.113.7',
        '::ffff:203.0.113.7',
        '::FFFF:CB00:7107',
        '0:0:0:0:0:ffff:203.0.113.7',
        '203.0.113.7:443',
        '2001:db8::1',
        '2001:DB8:0:0::1',
        '2001:0db8:0000:0000:0000:0000:0000:0001',
        '[2001:db8::1]:443',
        '2001:db8::1%eth0',
      ]) {
        const { status } = await app.get('/', { 'x-forwarded-for': forwarded })
        expect({ forwarded, status }).toEqual({ forwarded, status: 403 })
      }
      for (const forwarded of ['203.0.113.7, 198.51.100.1', '2001:db7::1', '203.0.113.70'])
        expect((await app.get('/', { 'x-forwarded-for': forwarded })).status).toBe(200)
      for (const forwarded of [
        'x',
        '203.0.113.7.1',
        '0xcb.0.0x71.7',
        'a'.repeat(5000),
        ',,,',
        '::%',
      ])
        expect((await app.get('/', { 'x-forwarded-for': forwarded })).status).toBeLessThan(500)
    })

    test('whoever is allowed by a forged first address is not allowed', async () => {
      const app = kind.start({
        options: { store: testStore() },
        mount: (tp) => [tp.rateLimit({ limit: 1, window: '1h' })],
        trustProxy: 1,
      })
      onTestFinished(() => app.tp.close())
      await app.tp.control.allow('203.0.113.7', WHY)
      const forged = { 'x-forwarded-for': '203.0.113.7, 198.51.100.1' }
      expect((await app.get('/', forged)).status).toBe(200)
      expect((await app.get('/', forged)).status).toBe(429)
    })
  },
)

test('a hundred thousand rules and one of a megabyte that a stranger stores cost a process little', async () => {
  await using redis = await startRedis()
  const tp = turnpike({ redis: redis.url, commandTimeout: '20s', operations: false })
  onTestFinished(() => tp.close())
  const warnings: string[] = []
  tp.on('warning', ({ message }) => void warnings.push(message))
  const fill = `for i = 1, 100000 do redis.call('HSET', KEYS[1], 's:u' .. i, '1 0 {"effect":"deny"}') end
    redis.call('HSET', KEYS[1], 'a:203.0.113.9', '1 0 {"effect":"deny","reason":"' .. string.rep('x', 1000000) .. '"}')
    redis.call('HSET', KEYS[1], '!', '7.x y')
    redis.call('PEXPIRE', KEYS[1], 600000)`
  await redis.send('EVAL', fill, '1', KEY)
  const replica = new RuleReplica(tp[CONTEXT]('operations'), 'test')
  await tp.ready('5s')
  const began = process.cpuUsage()
  await replica.refresh()
  const { user } = process.cpuUsage(began)
  expect(replica.table.total).toBeLessThanOrEqual(10_000)
  expect(replica.table.effectOn('203.0.113.9')).toBeUndefined()
  // A search through all rules for each one beyond the bound would take minutes.
  expect(user).toBeLessThan(20_000_000)
  expect(warnings).toEqual([expect.stringContaining('cannot be read')])
})
