/** What docs/migrate/koa-cash.md says, old and new side by side. */
import { createRequire } from 'node:module'
import Koa, { type Middleware } from 'koa'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../src/koa.ts'
import { testStore } from '../../src/testing.ts'

const cash = createRequire(import.meta.url)('koa-cash') as (options: object) => Middleware

/** An application whose handler counts its calls, with the cache of each package. */
function both(handle: (ctx: any, calls: number) => void | Promise<void>) {
  const run = (cache: Middleware, isOld: boolean) => {
    let calls = 0
    const app = new Koa()
    app.use(cache)
    app.use(async (ctx: any) => {
      if (isOld && (await ctx.cashed())) return
      await handle(ctx, ++calls)
    })
    const listener = app.callback()
    return {
      get: (headers: Record<string, string> = {}) => request(listener).get('/').set(headers),
      calls: () => calls,
    }
  }
  const kept = new Map<string, unknown>()
  const old = cash({
    get: (key: string) => kept.get(key),
    set: (key: string, value: unknown) => void kept.set(key, value),
  })
  const tp = turnpike({ store: testStore() })
  return { old: run(old, true), tp: run(tp.cache({ ttl: '1m' }), false) }
}

test('alike: the second answer comes from the cache', async () => {
  const apps = both((ctx, calls) => void (ctx.body = `made ${calls}`))
  for (const { get } of [apps.old, apps.tp]) {
    expect([(await get()).text, (await get()).text]).toEqual(['made 1', 'made 1'])
  }
})

describe('different on purpose', () => {
  test('one bearer’s answer goes to another there, not here', async () => {
    const apps = both((ctx) => void (ctx.body = `for ${ctx.headers.authorization}`))
    const who = async ({ get }: typeof apps.old) => {
      await get({ authorization: 'alice' })
      return (await get({ authorization: 'bob' })).text
    }
    expect([await who(apps.old), await who(apps.tp)]).toEqual(['for alice', 'for bob'])
  })

  test('ten requests at once are ten calls there, one here', async () => {
    const apps = both(async (ctx) => {
      await new Promise((resolve) => setTimeout(resolve, 150))
      ctx.body = 'x'
    })
    for (const { get } of [apps.old, apps.tp])
      await Promise.all(Array.from({ length: 10 }, () => get()))
    expect([apps.old.calls(), apps.tp.calls()]).toEqual([10, 1])
  })

  test('no-store is obeyed here', async () => {
    const apps = both((ctx, calls) => {
      ctx.set('Cache-Control', 'no-store')
      ctx.body = `made ${calls}`
    })
    for (const { get } of [apps.old, apps.tp]) await get()
    expect([(await apps.old.get()).text, (await apps.tp.get()).text]).toEqual(['made 1', 'made 2'])
  })
})
