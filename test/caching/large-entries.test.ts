/** Entries of more than 64 KiB are read by a command of their own, and are as valid as small ones. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { RedisStore } from '../../src/store/redis-store.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => {
  await expectEveryKeyToExpire(server)
  await server.stop()
})

async function opened() {
  const proxy = await startFaultProxy(server.port)
  const tp = turnpike({ redis: proxy.url, commandTimeout: '2s', requestBudget: '2s' })
  onTestFinished(async () => {
    await tp.close()
    await proxy.close()
    await server.send('FLUSHALL')
  })
  await tp.ready()
  return { proxy, tp }
}

/** Compression does not make it small. */
const RANDOM = randomBytes(150_000).toString('base64')

/** A value of 200 KB that begins with its name. */
const value = (name: string): string => `${name} ${RANDOM}`
/** Its name, for messages that a person can read. */
const nameOf = (found: unknown): string => String(found).slice(0, 6).split(' ')[0]!

describe('a large value', () => {
  it('is a hit: one script says that it is large, one command fetches it', async () => {
    const { proxy, tp } = await opened()
    await tp.data.set('page', value('a'), { ttl: '1h' })
    await tp.data.get('page')
    proxy.forget()
    expect(nameOf(await tp.data.get('page'))).toBe('a')
    expect(proxy.traffic.commands).toEqual(['EVALSHA', 'GET'])
  })

  it('is gone when one of its tags is invalidated by another process', async () => {
    const [{ tp }, other] = [await opened(), await opened()]
    const load = vi.fn(async () => value('loaded'))
    const read = async (): Promise<string> =>
      await tp.data.getOrFetch('page', load, { ttl: '1h', tags: ['news'] })
    expect(nameOf(await read())).toBe('loaded')
    expect(nameOf(await read())).toBe('loaded')
    expect(load).toHaveBeenCalledTimes(1)
    await other.tp.data.invalidate({ tags: ['news'] })
    expect(nameOf(await read())).toBe('loaded')
    expect(load).toHaveBeenCalledTimes(2)
  })

  it('that disappears between script and command is loaded again', async () => {
    const { tp } = await opened()
    const load = vi.fn(async () => value('loaded'))
    const read = (): Promise<unknown> => tp.data.getOrFetch('page', load, { ttl: '1h' })
    await tp.data.set('page', value('set'), { ttl: '1h' })
    expect(nameOf(await read())).toBe('set')
    const run = RedisStore.prototype.run
    const spy = vi.spyOn(RedisStore.prototype, 'run').mockImplementation(async function (
      this: RedisStore,
      ...args
    ) {
      if (args[0].name === 'cache.readLarge') await server.send('UNLINK', ...args[1])
      return await run.apply(this, args)
    })
    onTestFinished(() => spy.mockRestore())
    expect(nameOf(await read())).toBe('loaded')
    expect(load).toHaveBeenCalledTimes(1)
  })

  it('that is replaced between script and command by one of a later invalidation is valid', async () => {
    const [{ tp }, other] = [await opened(), await opened()]
    const options = { ttl: '1h', tags: ['news'] } as const
    await tp.data.set('page', value('old'), options)
    await tp.data.get('page')
    const run = RedisStore.prototype.run
    let isDone = false
    const spy = vi.spyOn(RedisStore.prototype, 'run').mockImplementation(async function (
      this: RedisStore,
      ...args
    ) {
      if (args[0].name === 'cache.readLarge' && !isDone) {
        isDone = true
        await other.tp.data.invalidate({ tags: ['news'] })
        await other.tp.data.set('page', value('new'), options)
      }
      return await run.apply(this, args)
    })
    onTestFinished(() => spy.mockRestore())
    expect(nameOf(await tp.data.get('page'))).toBe('new')
  })
})
