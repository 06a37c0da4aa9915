/** An instance may be created before Redis is up. It ends when it is closed, or with its process. */
import { once } from 'node:events'
import { Redis } from 'ioredis'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
  vi,
} from 'vitest'
import { extension } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { runScript, startScript, type Ended } from '../support/child.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { timed, until } from '../support/until.ts'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
beforeEach(async () => {
  server.thaw()
  const reply = await server.send('PING').catch(() => '')
  if (!reply.includes('PONG')) await server.restart()
})
afterAll(async () => {
  await server.stop()
})
afterEach(async () => {
  server.thaw()
  if (await server.send('PING').catch(() => '')) await expectEveryKeyToExpire(server)
})

const limit = { limit: 10, window: '1m' } as const

/** Expects that the process ended by itself and without errors. It may warn that Redis is away. */
function expectCleanEnd({ code, signal, stderr }: Ended): void {
  expect(stderr.split('\n').filter((line) => /Error|Unhandled/.test(line))).toEqual([])
  expect({ code, signal }).toEqual({ code: 0, signal: null })
}

describe('a process', () => {
  it('that only imports turnpike ends by itself', async () => {
    expectCleanEnd(await runScript(`import 'turnpike/express'; import 'turnpike/koa'`))
  })

  it('that only creates an instance and its middlewares ends by itself', async () => {
    expectCleanEnd(
      await runScript(
        `import { turnpike } from 'turnpike/node'
         const tp = turnpike({ redis: process.env.URL })
         tp.rateLimit({ limit: 1, window: '1m', denyCache: true })`,
        { env: { URL: server.url } },
      ),
    )
  })

  it('that uses a limiter and closes nothing ends by itself', async () => {
    const ended = await runScript(
      `import { turnpike } from 'turnpike/node'
       const tp = turnpike({ redis: process.env.URL, commandTimeout: '5s' })
       const limiter = tp.limiter('once', { limit: 5, window: '1m', denyCache: true })
       const { source, remaining } = await limiter.consume('me')
       console.log(source, remaining)`,
      { env: { URL: server.url } },
    )
    expectCleanEnd(ended)
    expect(ended.stdout).toBe('store 4\n')
    expect(ended.ms).toBeLessThan(5000)
  })

  it('that passes a client of its own ends when it closes that client', async () => {
    const ended = await runScript(
      `import { turnpike } from 'turnpike/node'
       import { Redis } from 'ioredis'
       const client = new Redis(process.env.URL)
       const tp = turnpike({ redis: client, commandTimeout: '5s' })
       const { source } = await tp.limiter('once', { limit: 5, window: '1m' }).consume('me')
       console.log(source)
       await client.quit()`,
      { env: { URL: server.url } },
    )
    expectCleanEnd(ended)
    expect(ended.stdout).toBe('store\n')
  })

  const used = `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: process.env.URL, commandTimeout: process.env.TIMEOUT ?? 100 })
    const limiter = tp.limiter('used', { limit: 5, window: '1m', denyCache: true })
    const { source } = await limiter.consume('me')
    console.log(source)
    console.log('used')
    await received('close')
    const began = performance.now()
    await tp.close()
    console.log('closed in', Math.round(performance.now() - began))`

  const closedIn = ({ stdout }: Ended): number => Number(/closed in (\d+)/.exec(stdout)?.[1])

  it('ends after close() while Redis is up', async () => {
    const script = startScript(used, { env: { URL: server.url, TIMEOUT: '5s' } })
    await script.says('used')
    script.tell('close')
    const ended = await script.ended
    expectCleanEnd(ended)
    expect(ended.stdout).toContain('store\n')
    expect(closedIn(ended)).toBeLessThan(500)
    expect(ended.ms).toBeLessThan(1500)
  })

  it('ends after close() while Redis is frozen', async () => {
    const script = startScript(used, { env: { URL: server.url, TIMEOUT: '1s' } })
    await script.says('used')
    server.freeze()
    script.tell('close')
    const ended = await script.ended
    expectCleanEnd(ended)
    expect(closedIn(ended)).toBeLessThan(900)
    expect(ended.ms).toBeLessThan(2000)
  })

  it('ends after close() if Redis was frozen from the start', async () => {
    server.freeze()
    const script = startScript(used, { env: { URL: server.url } })
    await script.says('used')
    script.tell('close')
    const ended = await script.ended
    expectCleanEnd(ended)
    expect(ended.stdout).toContain('local\n')
    expect(closedIn(ended)).toBeLessThan(900)
    expect(ended.ms).toBeLessThan(2000)
  })

  it('ends after close() if Redis was never reached', async () => {
    await server.kill()
    const script = startScript(used, { env: { URL: server.url } })
    await script.says('used')
    script.tell('close')
    const ended = await script.ended
    expectCleanEnd(ended)
    expect(ended.stdout).toContain('local\n')
    expect(closedIn(ended)).toBeLessThan(500)
    expect(ended.ms).toBeLessThan(1500)
  })

  it('answers its first request in time, while ioredis is still being loaded', async () => {
    server.freeze()
    const ended = await runScript(
      `import { turnpike } from 'turnpike/node'
       const tp = turnpike({ redis: process.env.URL, commandTimeout: 1000 })
       const limiter = tp.limiter('first', { limit: 5, window: '1m', fail: 'closed' })
       const began = performance.now()
       const { source } = await limiter.consume('me')
       // Loading ioredis blocks the event loop. Twice the timeout would be too long.
       console.log(source, Math.round(performance.now() - began))
       await tp.close()`,
      { env: { URL: server.url } },
    )
    expectCleanEnd(ended)
    const [source, ms] = ended.stdout.trim().split(' ')
    expect(source).toBe('closed')
    expect(Number(ms)).toBeLessThan(1600)
  })
})

describe('close()', () => {
  it('lets calls in flight finish', async () => {
    const tp = turnpike({ redis: server.url, commandTimeout: 2000 })
    await tp.ready()
    const limiter = tp.limiter('flight', limit)
    const calls = Array.from({ length: 5 }, () => limiter.consume('me'))
    await tp.close()
    const decisions = await Promise.all(calls)
    expect(decisions.map(({ source }) => source)).toEqual([
      'store',
      'store',
      'store',
      'store',
      'store',
    ])
    expect(decisions.map(({ remaining }) => remaining)).toEqual([9, 8, 7, 6, 5])
  })

  it('waits for calls to a frozen server at most for their timeout, and they are answered', async () => {
    const tp = turnpike({ redis: server.url, commandTimeout: 100 })
    await tp.ready()
    const limiter = tp.limiter('frozen', { ...limit, fail: 'closed' })
    await until('it counts', async () => (await limiter.consume('me')).source === 'store')
    server.freeze()
    const call = limiter.consume('me')
    const { ms } = await timed(tp.close())
    expect(await call).toMatchObject({ allowed: false, source: 'closed' })
    expect(ms).toBeLessThan(100 + 500 + 100)
  })

  it('may be called twice, also concurrently', async () => {
    const tp = turnpike({ redis: server.url })
    await tp.ready()
    await Promise.all([tp.close(), tp.close()])
    await tp.close()
    expect(tp.status()).toMatchObject({ status: 'down', reason: 'closed' })
  })

  it('may be called before a connection exists', async () => {
    const tp = turnpike({ redis: server.url })
    await tp.close()
    expect(tp.status().status).toBe('down')
  })

  it('leaves the failure rules in force: no error and no hang', async () => {
    const tp = turnpike({ redis: server.url })
    const make = (fail: 'open' | 'closed' | 'local') =>
      tp.limiter(`after-${fail}`, { ...limit, fail })
    const [open, closed, local] = [make('open'), make('closed'), make('local')]
    await tp.ready()
    await tp.close()
    expect(await open.consume('me')).toMatchObject({ allowed: true, source: 'open' })
    expect(await closed.consume('me')).toMatchObject({ allowed: false, source: 'closed' })
    expect((await local.consume('me')).allowed).toBe(true)
    await expect(open.peek('me')).rejects.toMatchObject({
      code: 'TP_UNAVAILABLE',
      reason: 'closed',
    })
    await expect(tp.ready()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  })

  it('is what `await using` calls', async () => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    const connections = async (): Promise<number> =>
      Number(/connected_clients:(\d+)/.exec(await client.info('clients'))![1])
    const before = await connections()
    {
      await using tp = turnpike({ redis: server.url })
      await tp.ready()
      expect(await connections()).toBe(before + 1)
    }
    await until('the connection is closed', async () => (await connections()) === before)
  })

  it('ends the connection that subscribes, too', async () => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    const names = async (): Promise<number> =>
      String(await client.client('LIST'))
        .trim()
        .split('\n').length
    const before = await names()
    const tp = turnpike({ redis: server.url })
    tp.limiter('listening', { ...limit, denyCache: true })
    await until('both connections are there', async () => (await names()) === before + 2)
    await tp.close()
    await until('both are closed', async () => (await names()) === before)
  })

  it('leaves a client that was passed open, with its listeners as they were', async () => {
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    await once(client, 'ready')
    const counts = (): number[] =>
      ['ready', 'error', 'close', 'end'].map((name) => client.listenerCount(name))
    const before = counts()
    const tp = turnpike({ redis: client })
    await tp.ready()
    await tp.limiter('theirs', limit).consume('me')
    await tp.close()
    expect(client.status).toBe('ready')
    expect(await client.ping()).toBe('PONG')
    expect(counts()).toEqual(before)
  })

  it('leaves a client that it used itself open, with its listeners as they were', async () => {
    const client = new Redis(server.url, {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
    })
    onTestFinished(() => client.disconnect())
    await once(client, 'ready')
    const counts = (): number[] =>
      ['ready', 'error', 'close', 'end'].map((name) => client.listenerCount(name))
    const before = counts()
    for (let i = 0; i < 20; i++) {
      const tp = turnpike({ redis: client, reuse: true })
      await tp.ready()
      await tp.limiter('reused', limit).consume('me')
      await tp.close()
    }
    expect(await client.ping()).toBe('PONG')
    expect(counts()).toEqual(before)
  })

  it('does not wait for ever for an extension that never closes, and names it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const store = testStore()
    const tp = turnpike({ store })
    const errors: object[] = []
    tp.on('error', (event) => void errors.push(event))
    let areOthersClosed = false
    extension(tp, 'others', ({ onClose }) => onClose(async () => void (areOthersClosed = true)))
    extension(tp, 'stuck', ({ onClose }) => onClose(() => new Promise(() => {})))
    let isClosed = false
    void tp.close({ drain: '1s' }).then(() => (isClosed = true))
    await vi.advanceTimersByTimeAsync(7000)
    expect({ areOthersClosed, isClosed }).toEqual({ areOthersClosed: true, isClosed: true })
    const error = expect.objectContaining({ message: expect.stringContaining('has not ended') })
    expect(errors).toEqual([{ feature: 'stuck', name: 'close', error }])
    expect(store.status().status).toBe('down')
  })

  it('closes a test store', async () => {
    const store = testStore()
    const tp = turnpike({ store })
    await tp.close()
    expect(store.status().status).toBe('down')
  })
})

describe('an instance that is created before Redis is up', () => {
  it('follows its failure rules, and counts in Redis when that is up', async () => {
    await server.kill()
    await using tp = turnpike({ redis: server.url })
    const limiter = tp.limiter('early', limit)
    expect(await limiter.consume('me')).toMatchObject({ allowed: true, source: 'local' })
    expect(tp.status().status).toBe('down')
    await server.restart()
    const { ms } = await timed(tp.ready('5s'))
    expect(ms).toBeLessThan(1500)
    expect(await limiter.consume('me')).toMatchObject({
      allowed: true,
      source: 'store',
      remaining: 9,
    })
    expect(tp.status().status).toBe('ok')
  })

  it('rejects ready() in time if Redis does not come up', async () => {
    await server.kill()
    await using tp = turnpike({ redis: server.url })
    const { error, ms } = await timed(tp.ready('200ms'))
    expect(error).toMatchObject({ code: 'TP_UNAVAILABLE', reason: 'not-ready' })
    expect(ms).toBeLessThan(300)
  })
})
