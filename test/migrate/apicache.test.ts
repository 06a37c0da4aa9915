/** What docs/migrate/apicache.md says, old and new side by side. */
import { createRequire } from 'node:module'
import express, { type RequestHandler } from 'express'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { testStore } from '../../src/testing.ts'

const apicache = createRequire(import.meta.url)('apicache') as {
  newInstance(options: object): {
    middleware(duration: string): RequestHandler
    clear(target?: string): void
  }
}

/** An application whose handler counts its calls, with the cache of each package. */
function both(handle: (req: express.Request, res: express.Response, calls: number) => void) {
  const run = (cache: RequestHandler) => {
    let calls = 0
    const app = express()
    app.get('/:id', cache, (req, res) => void setTimeout(() => handle(req, res, ++calls), 20))
    return {
      get: (headers: Record<string, string> = {}) => request(app).get('/1').set(headers),
      calls: () => calls,
    }
  }
  const old = apicache.newInstance({ debug: false })
  const tp = turnpike({ store: testStore() })
  return {
    old: { ...run(old.middleware('5 minutes')), clear: (tag: string) => old.clear(tag) },
    tp: {
      ...run(tp.cache({ ttl: '5m', tags: ['product:1'] })),
      clear: (tag: string) => tp.cache.invalidate({ tags: [tag] }),
    },
  }
}

test('alike: the second answer comes from the cache, until its tag is cleared', async () => {
  const apps = both((req, res, calls) => {
    ;(req as { apicacheGroup?: string }).apicacheGroup = 'product:1'
    res.json({ calls })
  })
  for (const { get, clear } of [apps.old, apps.tp]) {
    expect([(await get()).body.calls, (await get()).body.calls]).toEqual([1, 1])
    await Promise.resolve(clear('product:1'))
    expect((await get()).body.calls).toBe(2)
  }
})

describe('different on purpose', () => {
  test('a cookie is replayed to others there, not here', async () => {
    const apps = both((_req, res, calls) => void res.cookie('sid', `user${calls}`).json({}))
    await apps.old.get()
    expect(String((await apps.old.get()).headers['set-cookie'])).toContain('user1')
    await apps.tp.get()
    expect(String((await apps.tp.get()).headers['set-cookie'])).toContain('user2')
  })

  test('one bearer’s answer goes to another there, not here', async () => {
    const apps = both((req, res) => void res.json({ who: req.headers.authorization }))
    const who = async ({ get }: typeof apps.old | typeof apps.tp) => {
      await get({ authorization: 'alice' })
      return (await get({ authorization: 'bob' })).body.who as string
    }
    expect([await who(apps.old), await who(apps.tp)]).toEqual(['alice', 'bob'])
  })

  test('ten requests at once are ten calls there, one here', async () => {
    const apps = both((_req, res) => void setTimeout(() => res.json({}), 100))
    for (const { get } of [apps.old, apps.tp])
      await Promise.all(Array.from({ length: 10 }, () => get()))
    expect([apps.old.calls(), apps.tp.calls()]).toEqual([10, 1])
  })
})
