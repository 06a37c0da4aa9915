/** Attack: JSON that is nested as deep as a body can be. */
import express from 'express'
import request from 'supertest'
import { expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { startRedis, testStore } from '../../src/testing.ts'
import { refreshTokens } from '../../src/tokens.ts'

const BODY = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`

/** What its own request is told. */
const OUTCOMES: Record<string, string> = {
  session: 'TP_SESSION_SIZE',
  'a login': 'TP_SESSION_SIZE',
  'an argument of data': 'TP_VALUE',
  'a value of data': 'TP_VALUE',
  'a lock': 'TP_KEY',
  'a limit': 'TP_KEY',
  refresh: 'TP_VALUE',
}

it.each(['in memory', 'Redis'])(
  'attack: JSON as deep as a client likes fails the request that keeps it, and nothing else: %s',
  async (engine) => {
    const redis = engine === 'Redis' ? await startRedis() : undefined
    const tp = turnpike(
      redis === undefined
        ? { store: testStore(), logger: false }
        : { redis: redis.url, commandTimeout: '2s', requestBudget: '5s', logger: false },
    )
    const unheard: unknown[] = []
    const note = (error: unknown): void => void unheard.push(error)
    process.on('unhandledRejection', note).on('uncaughtException', note)
    onTestFinished(async () => {
      process.off('unhandledRejection', note).off('uncaughtException', note)
      await tp.close()
      await redis?.stop()
    })
    const search = tp.data.wrap(async (_query: unknown) => 1, { name: 'search', ttl: '1m' })
    const refresh = refreshTokens(tp)
    const keep: Record<string, (req: any) => unknown> = {
      session: (req) => void (req.session.kept = req.body),
      'a login': (req) => tp.session.login(req, 'ann', req.body),
      'an argument of data': (req) => search(req.body),
      'a value of data': (req) => tp.data.set('b', req.body, { ttl: '1m' }),
      'a lock': (req) => tp.lock(req.body, {}, () => 1),
      'a limit': (req) => tp.limiter('c', { limit: 1, window: '1s' }).consume(req.body),
      refresh: (req) => refresh.issue('ann', { data: req.body }),
    }
    const app = express()
    app.use(
      express.json({ limit: '1mb' }),
      tp.session({ secret: 'x'.repeat(32), encrypt: 'e'.repeat(32) }),
    )
    app.get('/', (req, res) => void res.json({ kept: req.session.id !== undefined }))
    // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 hands its errors on
    app.post('/:what', async (req, res) => {
      await keep[req.params.what]!(req)
      res.send('kept')
    })
    app.use(
      (error: any, _req: any, res: any, _next: any) =>
        void res.status(error.status ?? 500).send(String(error.code ?? error)),
    )
    for (const what of Object.keys(keep)) {
      const { status, text } = await request(app).post(`/${what}`).type('json').send(BODY)
      expect([what, status, text.split(':')[0]]).toEqual([what, 500, OUTCOMES[what]])
      expect((await request(app).get('/')).status).toBe(200)
    }
    expect(unheard).toEqual([])
  },
)
