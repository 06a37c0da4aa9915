import { describe, expect, test } from 'vitest'
import { signal } from '../../frameworks/harness.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf, type Handler } from './support.ts'

// What is served when Redis has lost the invalidation log, or a part of it.
describe.each(bothEngines())('the cache on the $name engine', ({ open, server: redis }) => {
  describe.each(kinds)('$name', ({ start }) => {
    async function app(handler: Handler) {
      const opened = open()
      const { store, prefix } = opened
      const cache = { ttl: '2h', tags: ['thing'] } as const
      const app = await start({ options: { store, prefix, requestBudget: '9s' }, handler, cache })
      const record = `${prefix}:inv:{log}`
      const memory = store as any
      let saved: [unknown, string] | undefined
      return {
        ...app,
        ...opened,
        /** Wait for what is stored behind the answer. */
        stored: (count: number) =>
          until('it is stored', () => app.tp.cache.stats().stored === count),
        async lose(everything = false): Promise<void> {
          const server = redis()
          if (!server) memory.delete(record)
          else if (everything) await server.send('FLUSHALL')
          else await server.send('DEL', record)
        },
        /** What a replica has that is a little behind. */
        async save(): Promise<void> {
          saved = [structuredClone(memory.get?.(record)), `${record}:saved`]
          await redis()?.send('COPY', record, saved[1])
        },
        async failOver(): Promise<void> {
          if (redis()) await redis()!.send('COPY', saved![1], record, 'REPLACE')
          else memory.set(record, saved![0], 3_600_000)
        },
      }
    }

    test.each([
      ['the log is lost', false],
      ['FLUSHALL', true],
    ])('%s in the middle of a fill: its entry is not served', async (_how, everything) => {
      let value = 'OLD'
      const [reading, goOn] = [signal(), signal()]
      const handler = counting(async ({ send }) => {
        const read = value
        if (handler.calls === 2) {
          reading.resolve()
          await goOn.promise
        }
        send(200, read)
      })
      const { get, tp, lose, stored } = await app(handler)
      await get('/other')
      const filling = get('/thing')
      await reading.promise
      await lose(everything)
      value = 'NEW'
      // It is unknown what was invalidated before: a new log begins.
      await tp.cache.invalidate({ tags: ['thing'] })
      goOn.resolve()
      await filling
      await stored(2)
      expect((await get('/thing')).text).toBe('NEW')
    })

    test('the log is lost, and a new one begins before the next request: everything misses once', async () => {
      const handler = counting()
      const { get, tp, lose, stored } = await app(handler)
      await get()
      await stored(1)
      await lose()
      await tp.cache.invalidate({ tags: ['something else'] })
      expect(statusOf(await get())).toContain('fwd=')
      await stored(2)
      expect(statusOf(await get())).toContain('hit')
      expect(handler.calls).toBe(2)
    })

    test('a failover turns the sequence back: what was filled by a later one misses, and is filled again', async () => {
      const handler = counting(({ send }) => send(200, String(handler.calls)))
      const { get, tp, save, failOver, stored } = await app(handler)
      await get('/before')
      await stored(1)
      await save()
      await tp.cache.invalidate({ tags: ['something else'] })
      await get('/after')
      await stored(2)
      await failOver()
      // Older than the last word that is known, and not hit by it.
      expect((await get('/before')).text).toBe('1')
      expect((await get('/after')).text).toBe('3')
      await stored(3)
      expect((await get('/after')).text).toBe('3')
    })

    test('after a failover the sequence goes on beyond what was lost', async () => {
      const handler = counting(({ send }) => send(200, String(handler.calls)))
      const { get, tp, save, failOver, stored, advance } = await app(handler)
      await get()
      await stored(1)
      await save()
      for (let i = 0; i < 5; i++) await tp.cache.invalidate({ tags: ['thing'] })
      expect((await get()).text).toBe('2')
      await stored(2)
      await failOver()
      // A counter would now count up to where the entry was made, and take it for newer than this.
      await advance('1s')
      await tp.cache.invalidate({ tags: ['thing'] })
      for (let i = 0; i < 5; i++) await tp.cache.invalidate({ tags: ['something else'] })
      expect((await get()).text).toBe('3')
    })

    test('the clock is turned back: invalidations still come one after the other', async () => {
      const handler = counting(({ send }) => send(200, String(handler.calls)))
      const { get, tp, back, stored } = await app(handler)
      await tp.cache.invalidate({ tags: ['thing'] })
      await back('1h')
      for (let i = 1; i <= 3; i++) {
        expect((await get()).text).toBe(String(i))
        await stored(i)
        expect(statusOf(await get())).toContain('hit')
        await tp.cache.invalidate({ tags: ['thing'] })
      }
    })
  })
})
