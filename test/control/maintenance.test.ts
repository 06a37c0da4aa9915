/** Maintenance by `tp.control`: one switch for the gate and for `maintenance()`, in all processes. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { maintenance } from '../../src/flags.ts'
import { turnpike } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'
import { until } from '../support/until.ts'
import { withoutMessages } from '../extensions/flags/support.ts'

const WHY = { by: 'ann', reason: 'a move' }
const KEY = 'tp:operations:document:{maintenance-default}'

describe.each(bothEngines())('maintenance of the control on the $name engine', ({ open }) => {
  describe.each(apps)('on $name', ({ start }) => {
    async function setUp(mount: (tp: any) => any[] = (tp) => [tp.gate()]) {
      const opened = open()
      const { store, prefix } = opened
      const app = start({ options: { store, prefix }, mount })
      const { control } = app.tp
      // The gate follows the switch once it is loaded.
      await control.maintenance()
      return { ...opened, app, control }
    }

    test('the gate refuses every request with 503 until it is off, and health checks pass', async () => {
      const { app, control } = await setUp()
      expect((await app.get()).status).toBe(200)
      const report = await control.maintenance({ retryAfter: '10m', detail: 'At noon.' }, WHY)
      expect(report).toMatchObject({ on: true, ...WHY, retryAfterMs: 600_000, detail: 'At noon.' })
      const refused = await app.get('/products?page=2')
      expect(refused.status).toBe(503)
      expect(refused.headers).toMatchObject({
        'retry-after': '600',
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
      })
      expect(JSON.parse(refused.text)).toMatchObject({ status: 503, detail: 'At noon.' })
      expect((await app.post()).status).toBe(503)
      expect((await app.get('/health/live')).status).toBe(200)
      expect((await app.post('/health')).status).toBe(503)
      expect(await control.maintenance('off', WHY)).toMatchObject({ on: false, by: 'ann' })
      expect((await app.get()).status).toBe(200)
    })

    test('allowed networks and bypassed paths pass, and nothing that only looks like them', async () => {
      const { app, control } = await setUp()
      await control.maintenance({ allow: ['127.0.0.1'] }, WHY)
      expect((await app.get()).status).toBe(200)
      await control.maintenance({ allow: ['::ffff:127.0.0.9/104'] }, WHY)
      expect((await app.get()).status).toBe(200)
      await control.maintenance({ allow: ['127.0.0.2', '2001:db8::/32'], bypass: ['/hooks'] }, WHY)
      for (const path of ['/hooks', '/hooks/a?b', '/hooks?c'])
        expect([(await app.get(path)).status, (await app.post(path)).status], path).toEqual([
          200, 200,
        ])
      for (const path of ['/', '/hooksy', '/x/hooks', '/hooks/..%2fadmin', '/hooks/%2e%2e/admin'])
        expect((await app.get(path)).status, path).toBe(503)
    })

    test('a denied client is refused as before, and an allow rule opens no closed site', async () => {
      const { app, control } = await setUp()
      await control.maintenance({}, WHY)
      await control.deny('127.0.0.0/8', WHY)
      expect((await app.get()).status).toBe(403)
      await control.allow('127.0.0.1', WHY)
      expect((await app.get()).status).toBe(503)
    })

    test('maintenance() and the gate heed one switch, whichever is used', async () => {
      let closed!: ReturnType<typeof maintenance>
      const { app, control } = await setUp((tp) => [(closed = maintenance(tp))])
      await control.maintenance({ retryAfter: '7s' }, WHY)
      const refused = await app.get()
      expect([refused.status, refused.headers['retry-after']]).toEqual([503, '7'])
      await closed.off({ by: 'bob' })
      expect((await app.get()).status).toBe(200)
      expect(await control.maintenance()).toMatchObject({ on: false, by: 'bob' })
      await closed.on({ by: 'bob' })
      expect(await control.maintenance()).toMatchObject({
        on: true,
        by: 'bob',
        allow: [],
        bypass: [],
      })
    })
  })

  test('it ends after its time, by itself', async () => {
    const { store, prefix, advance } = open()
    const tp = turnpike({ store, prefix })
    onTestFinished(() => tp.close())
    const { since, until: ends } = await tp.control.maintenance({}, { ...WHY, for: '1m' })
    expect(ends! - since!).toBe(60_000)
    await advance('59s')
    expect((await tp.control.maintenance()).on).toBe(true)
    await advance('1s')
    expect(await tp.control.maintenance()).toMatchObject({ on: false, since })
  })

  test('other processes are switched by a message, or at the next interval without one', async () => {
    const { store, prefix, advance } = open()
    const all = [store, store, withoutMessages(store)].map((each) =>
      turnpike({ store: each, prefix }),
    )
    const [first, told, deaf] = all.map((tp) => maintenance(tp, { refresh: '10s' }))
    await deaf!.refresh()
    await all[0]!.control.maintenance({}, WHY)
    await until('the message arrives', () => told!.status().on)
    expect([first!.status().on, deaf!.status().on]).toEqual([true, false])
    await advance('10s')
    await until('the other process has asked', () => deaf!.status().on)
  })

  test('the audit says who has switched it, why, and what passes', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    onTestFinished(() => tp.close())
    await tp.control.maintenance({ allow: ['203.0.113.9/24'] }, { ...WHY, for: '1h' })
    await tp.control.maintenance('off', { by: 'bob', reason: 'done' })
    const entries = await tp.control.audit()
    expect(entries.map(({ action, by, reason, subject }) => [action, by, reason, subject])).toEqual(
      [
        ['maintenance off', 'bob', 'done', 'default'],
        ['maintenance on', 'ann', 'a move', 'default for 1h but 203.0.113.0/24'],
      ],
    )
  })
})

function setUpUnit() {
  const store = testStore()
  const tp = turnpike({ store })
  onTestFinished(() => tp.close())
  return { store, tp }
}

test('while Redis is away the gate keeps the last state, and the switch is refused', async () => {
  const { store, tp } = setUpUnit()
  const closed = maintenance(tp)
  await tp.control.maintenance({}, WHY)
  store.fail()
  await expect(tp.control.maintenance('off', WHY)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await expect(tp.control.maintenance()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  expect(closed.status().on).toBe(true)
})

test('what a stranger has stored lets no path pass that bypass cannot name', async () => {
  const { store, tp } = setUpUnit()
  for (const [i, bypass] of [['/'], [''], ['/a/'], ['/a?b'], 'x', [7], {}].entries()) {
    const content = JSON.stringify({ on: true, bypass, allow: [7, 'x', '0.0.0.0/0/0'], until: 'x' })
    store.set(KEY, { version: `${i}.x`, content, keptUntil: Infinity }, 1e9)
    expect(await tp.control.maintenance()).toMatchObject({ on: true, bypass: [], until: undefined })
  }
})

test('metrics say while it is on', async () => {
  const { tp } = setUpUnit()
  const metrics = tp.metrics()
  const shown = async (): Promise<string | undefined> =>
    /^turnpike_maintenance\{switch="default"\} (\d)$/m.exec(await metrics.text())?.[1]
  expect(await shown()).toBeUndefined()
  await tp.control.maintenance({}, WHY)
  expect(await shown()).toBe('1')
  await tp.control.maintenance('off', WHY)
  expect(await shown()).toBe('0')
})

test.each<[string, unknown, unknown]>([
  ['no settings', null, WHY],
  ['a state that is none', 'on', WHY],
  ['an author that is missing', {}, undefined],
  ['a reason that is missing', {}, { by: 'ann' }],
  ['an option that is misspelled', { retryafter: '1m' }, WHY],
  ['a duration that is none', { retryAfter: 'soon' }, WHY],
  ['an allow that is no list', { allow: '203.0.113.7' }, WHY],
  ['an address that is none', { allow: ['example.org'] }, WHY],
  ['too many networks', { allow: Array.from({ length: 101 }, () => '10.0.0.1') }, WHY],
  ['a path that is every path', { bypass: ['/'] }, WHY],
  ['a path without a slash', { bypass: ['hooks'] }, WHY],
  ['a detail that is too long', { detail: 'x'.repeat(501) }, WHY],
  ['a time that is none', {}, { ...WHY, for: 'ever' }],
])('%s is refused', async (_, settings, options) => {
  const { tp } = setUpUnit()
  const changing = tp.control.maintenance(settings as never, options as never)
  await expect(changing).rejects.toMatchObject({ code: 'TP_OPTION' })
  expect((await tp.control.maintenance()).on).toBe(false)
})
