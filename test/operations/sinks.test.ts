/** Nothing that a client or a user entrusts to the application reaches a log, an event, a metric or a report. */
import { channel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { EVENTS } from '../../src/events.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { express4App, express5, koa3 } from '../support/serve.ts'
import { until } from '../support/until.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
  await server.send(
    'ACL',
    'SETUSER',
    'shop',
    'reset',
    'on',
    '>canary-password',
    '~*',
    '&*',
    '+@all',
  )
})
afterAll(() => server.stop())

describe.each([express4App, express5, koa3])('$name', ({ serve }) => {
  it('no canary is in a line of the log, in DEBUG, in an event, a metric, a report or an alert', async () => {
    const sunk: unknown[] = []
    vi.stubEnv('DEBUG', 'turnpike:*')
    const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      sunk.push(String(text))
      return true
    })
    onTestFinished(() => {
      vi.unstubAllEnvs()
      stderr.mockRestore()
    })
    for (const name of [...Object.keys(EVENTS), 'alert']) {
      const bus = channel(`turnpike:${name}`)
      const note = (event: unknown): void =>
        void sunk.push(inspect(event, { depth: Infinity, showHidden: true }))
      bus.subscribe(note)
      onTestFinished(() => {
        bus.unsubscribe(note)
      })
    }
    const prefix = `sinks${Math.random()}`
    const logger = { warn: (line: string) => void sunk.push(line) }
    const redis = server.url.replace('//', '//shop:canary-password@')
    const { tp, get } = await serve({
      options: { redis, prefix, logger, commandTimeout: '1s', operations: { every: '1s' } },
      routes: (tp) => ({
        '/login': [
          tp.session({ secret: 'canary-secret-that-is-long-enough', name: 'canary-cookie-name' }),
          tp.rateLimit({ name: 'api', limit: 2, window: '1h' }),
          tp.idempotency({ methods: ['GET'] } as never),
          tp.cache({ name: 'pages', ttl: '1m' }),
        ].reduce((outer, inner) => tp.pipeline(outer, inner)),
      }),
    })
    vi.unstubAllEnvs()
    await tp.ready()
    const metrics = tp.metrics({ server: true })
    tp.alerts({ notify: (alert) => void sunk.push(inspect(alert)), every: '1s' })
    const headers = {
      cookie: 'canary-cookie-name=s%3Acanary-session.canary-signature; other=canary-cookie',
      authorization: 'Bearer canary-token',
      'x-api-key': 'canary-api-key',
      'idempotency-key': 'canary-idempotency-key',
    }
    const use = async (): Promise<void> => {
      for (let i = 0; i < 4; i++) await get('/login?q=canary-query', headers)
      await tp.lock('report', {}, async () => 'canary-result').catch(() => {})
      await tp.data.set('value', { data: 'canary-value' }, { ttl: '1m' }).catch(() => {})
      await tp.data.getOrFetch('other', () => 'canary-loaded').catch(() => {})
    }
    await use()
    const reader = async (): Promise<number> => (await tp.processes().catch(() => [])).length
    await until('it reports', async () => (await reader()) > 0)
    server.freeze()
    onTestFinished(() => server.thaw())
    await use()
    server.thaw()
    await until('Redis is back', () => tp.status().status === 'ok')
    await use()
    sunk.push(await metrics.text(), inspect(await metrics.snapshot(), { depth: Infinity }))
    sunk.push(inspect(await tp.processes(), { depth: Infinity }), inspect(tp.status()))
    const text = sunk.join('\n')
    // The sinks work: events, the log, DEBUG, metrics and reports are all in there.
    for (const part of [
      'turnpike:decision',
      'Redis is away',
      'turnpike_limit_decisions_total',
      process.version,
    ])
      expect(text).toContain(part)
    expect(text.match(/.{0,60}canary-(?!cookie-name).{0,40}/g) ?? []).toEqual([])
  })
})
