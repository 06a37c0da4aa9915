import { setImmediate as tick } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'
import { startRedis } from '../../../src/testing.ts'
import { bothEngines } from '../../support/engines.ts'
import { renewed } from '../../support/renewal.ts'
import { openStore } from '../../support/stores.ts'
import { watchStarvation } from '../../support/starvation.ts'
import { until } from '../../support/until.ts'

const engines = bothEngines()
/** The default one, in ms. */
const TIMEOUT = 100

/** A resource that heeds fencing tokens, as a database would. */
function fakeDatabase() {
  let last = 0
  return {
    write(token: number): boolean {
      if (token < last) return false
      last = token
      return true
    },
  }
}

describe.each(engines)('locks on the $name engine', ({ open, server }) => {
  function setup() {
    const opened = open()
    const tp = turnpike({ store: opened.store, prefix: opened.prefix })
    const events: string[] = []
    tp.on('lock', ({ type: what }) => events.push(what))
    return {
      ...opened,
      tp,
      events,
      other: turnpike({ store: opened.store, prefix: opened.prefix }),
    }
  }

  test('one holder at a time; the next one has a greater token', async () => {
    const { tp, other, events } = setup()
    const first = await tp.lock.acquire('a')
    await expect(other.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED', status: 423 })
    expect(await other.lock('b', {}, () => 'free')).toBe('free')
    expect(await first.release()).toBe(true)
    const second = await other.lock.acquire('a')
    expect(second.token).toBeGreaterThan(first.token)
    expect(await first.release()).toBe(true)
    await expect(tp.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    expect(events).toEqual(['acquired', 'refused'])
  })

  test('tenants do not collide: locks, work done once and semaphores of one name are each their own', async () => {
    const { tp, other } = setup()
    const [acme, globex] = [tp.forTenant('acme'), other.forTenant('globex')]
    const held = await acme.lock.acquire('a')
    expect(await globex.lock('a', {}, () => 'free')).toBe('free')
    expect(await tp.lock('a', {}, () => 'nobody’s')).toBe('nobody’s')
    await expect(other.forTenant('acme').lock.acquire('a')).rejects.toMatchObject({
      code: 'TP_LOCKED',
    })
    await held.release()

    expect((await acme.once('job', '1h', () => 1)).ran).toBe(true)
    expect((await acme.once('job', '1h', () => 1)).ran).toBe(false)
    expect((await globex.once('job', '1h', () => 1)).ran).toBe(true)

    const place = await acme.semaphore('s', { limit: 1 }).acquire()
    expect(await globex.semaphore('s', { limit: 1 }).using(() => 'in')).toBe('in')
    expect(await other.forTenant('acme').semaphore('s', { limit: 1 }).count()).toBe(1)
    expect(await globex.semaphore('s', { limit: 1 }).count()).toBe(0)
    await place.release()
  })

  test('the work is done under the lock, which is given back whatever it comes to', async () => {
    const { tp, other } = setup()
    await expect(
      tp.lock('a', {}, async (signal, { token }) => {
        expect(signal.aborted).toBe(false)
        expect(token).toBeGreaterThan(0)
        await expect(other.lock('a', {}, () => 1)).rejects.toMatchObject({ code: 'TP_LOCKED' })
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    expect(await other.lock('a', {}, () => 1)).toBe(1)
  })

  test('who waits is woken by the release, here and in another instance', async () => {
    const { tp, other } = setup()
    for (const waiter of [tp, other]) {
      const held = await tp.lock.acquire('a')
      const waiting = waiter.lock('a', { wait: '1m' }, () => 'mine')
      await new Promise((resolve) => setTimeout(resolve, 60))
      await held.release()
      expect(await waiting).toBe('mine')
    }
  })

  test('a wait ends after `wait`, or with its signal', async () => {
    const { tp, advance, store } = setup()
    await tp.lock.acquire('a', { lease: '1h' })
    const began = store.monotonic()
    const waiting = tp.lock.acquire('a', { wait: '5s' }).then(
      () => 'taken',
      ({ code }) => code as string,
    )
    let outcome: string | undefined
    void waiting.then((code) => (outcome = code))
    await until('it gives up', async () => {
      await advance('500ms')
      return outcome
    })
    expect(outcome).toBe('TP_LOCKED')
    expect(store.monotonic() - began).toBeGreaterThanOrEqual(5000)
    const stop = new AbortController()
    const stopped = expect(
      tp.lock.acquire('a', { wait: '5s', signal: stop.signal }),
    ).rejects.toThrow('enough')
    await tick()
    stop.abort(new Error('enough'))
    await stopped
    expect(() => AbortSignal.abort(new Error('before')).throwIfAborted()).toThrow('before')
    await expect(
      tp.lock.acquire('b', { signal: AbortSignal.abort(new Error('before')) }),
    ).rejects.toThrow('before')
  })

  test('a crashed holder’s lock is free after its lease; a live one’s is renewed', async () => {
    const { tp, other, advance, store } = setup()
    const held = await tp.lock.acquire('a', { lease: '9s' })
    for (let i = 0; i < 10; i++) {
      await renewed({ store, advance }, '3s')
    }
    expect(held.lost).toBe(false)
    await expect(other.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    await held.release()
  })

  test('several locks are acquired all or none, and callers that name them in another order do not deadlock', async () => {
    const { tp, other, advance } = setup()
    const both = await tp.lock.all.acquire(['b', 'a', 'b'])
    const [b, a, again] = both.tokens
    expect(both.tokens).toHaveLength(3)
    expect(again).toBe(b)
    expect(a).toBeLessThanOrEqual(b!)
    await expect(other.lock.all.acquire(['0', 'b'])).rejects.toMatchObject({ code: 'TP_LOCKED' })
    expect(await tp.lock('0', {}, () => 'free')).toBe('free')
    expect(await both.release()).toBe(true)
    const all = Promise.all([
      tp.lock.all(['a', 'b'], { wait: '1m' }, () => tick()),
      other.lock.all(['b', 'a'], { wait: '1m' }, () => tick()),
    ])
    // A message may come before the subscription. The poll behind it runs by this clock.
    let isOver = false
    void all.then(() => (isOver = true))
    await until('both are done', async () => {
      await advance('1s')
      return isOver
    })
  })

  test('a list is one compound name, for locks, runs and semaphores', async () => {
    const { tp, other } = setup()
    const cart = await tp.lock.acquire(['cart', '7'])
    await expect(other.lock.acquire(['cart', '7'])).rejects.toMatchObject({ code: 'TP_LOCKED' })
    expect(await other.lock('cart', {}, () => 'free')).toBe('free')
    expect(await other.lock(['7', 'cart'], {}, () => 'free')).toBe('free')
    expect(await other.lock('cart:7', {}, () => 'free')).toBe('free')
    await expect(other.lock.all.acquire(['x', ['cart', '7']])).rejects.toMatchObject({
      code: 'TP_LOCKED',
      message: expect.stringContaining('cart:7') as string,
    })
    await cart.release()

    expect((await tp.once(['report', '7'], '1h', () => 1)).ran).toBe(true)
    expect((await other.once(['report', '7'], '1h', () => 1)).ran).toBe(false)
    expect((await other.once(['report', '8'], '1h', () => 1)).ran).toBe(true)

    const permit = await tp.semaphore(['videos', 'hd'], { limit: 1 }).acquire()
    await expect(other.semaphore(['videos', 'hd'], { limit: 1 }).acquire()).rejects.toMatchObject({
      code: 'TP_SEMAPHORE_FULL',
    })
    expect(await other.semaphore('videos', { limit: 1 }).using(() => 'free')).toBe('free')
    await permit.release()
  })

  test('fair: who came first is served first, over two instances', async () => {
    const { tp, other } = setup()
    const order: number[] = []
    const held = await tp.lock.acquire('a', { fair: true })
    const all: Promise<unknown>[] = []
    for (let i = 0; i < 6; i++) {
      all.push((i % 2 ? tp : other).lock('a', { fair: true, wait: '1m' }, () => void order.push(i)))
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    await held.release()
    await Promise.all(all)
    expect(order).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('once: one run over all instances; a run that fails may be repeated', async () => {
    const { tp, other, advance } = setup()
    await expect(tp.once('report', '1d', () => Promise.reject(new Error('no')))).rejects.toThrow(
      'no',
    )
    let runs = 0
    const work = async () => {
      await tick()
      return ++runs
    }
    const all = await Promise.all(
      [tp, other, tp, other].map((each) => each.once('report', '1d', work)),
    )
    expect(all.filter(({ ran }) => ran)).toEqual([{ ran: true, value: 1 }])
    expect(await other.once('report', '1d', work)).toEqual({ ran: false })
    await advance('1d')
    expect(await other.once('report', '1d', work)).toEqual({ ran: true, value: 2 })
  })

  test('event loop blocked beyond the lease: signal aborted, the stale token refused by a fake database', async () => {
    const { tp, other, advance, events } = setup()
    const database = fakeDatabase()
    let stale = 0
    let aborted = false
    const blocked = tp.lock('a', { lease: '10s' }, async (signal, holding) => {
      stale = holding.token
      // Everything stands still here, and time goes on: no renewal can have happened.
      await advance('11s')
      expect(() => holding.throwIfLost()).toThrow(expect.objectContaining({ code: 'TP_LOCK_LOST' }))
      aborted = signal.aborted
      await other.lock('a', {}, (_signal, { token }) => expect(database.write(token)).toBe(true))
      return 'done'
    })
    await expect(blocked).rejects.toMatchObject({ code: 'TP_LOCK_LOST' })
    expect(aborted).toBe(true)
    expect(database.write(stale)).toBe(false)
    expect(events).toEqual(['acquired', 'lost'])
  })

  test.each(['obeys its signal', 'fails because of it', 'ignores it', 'returns what it has'])(
    'work that %s gets the same error when its lease is lost, with its own error as the cause',
    async (how) => {
      const { tp, other, advance } = setup()
      const own = new Error('the query was aborted')
      let reason: unknown
      const work = async (signal: AbortSignal): Promise<string> => {
        // Time passes, and no renewal can happen.
        await advance('11s')
        signal.addEventListener('abort', () => {})
        reason = signal.reason
        if (how === 'obeys its signal') signal.throwIfAborted()
        if (how === 'fails because of it') throw own
        return 'done'
      }
      const lease = '10s'
      for (const run of [
        () => tp.lock('a', { lease }, work),
        () => tp.lock.all(['a', 'b'], { lease }, work),
        () => tp.once('a', '1h', work, { lease }),
        () => other.semaphore('a', { limit: 1, lease }).using(work),
      ]) {
        const error: any = await run().catch((error: unknown) => error)
        expect(error).toMatchObject({ code: 'TP_LOCK_LOST', status: 503 })
        expect(error).toBe(reason)
        expect(error.cause).toBe(how === 'fails because of it' ? own : undefined)
      }
    },
  )

  test('work that fails while its lease is held fails with its own error', async () => {
    const { tp } = setup()
    const own = new Error('mine')
    const work = (): never => {
      throw own
    }
    for (const run of [
      () => tp.lock('a', {}, work),
      () => tp.lock.all(['a', 'b'], {}, work),
      () => tp.once('a', '1h', work),
      () => tp.semaphore('a', { limit: 1 }).using(work),
    ])
      expect(await run().catch((error: unknown) => error)).toBe(own)
    expect(await tp.lock('a', {}, () => 'free')).toBe('free')
  })

  test('release after expiry never frees the new owner', async () => {
    const { tp, other, advance } = setup()
    const old = await tp.lock.acquire('a', { lease: '10s' })
    await advance('11s')
    const current = await other.lock.acquire('a', { lease: '10s' })
    expect(await old.release()).toBe(false)
    await expect(tp.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    expect(current.lost).toBe(false)
    expect(await current.release()).toBe(true)
  })

  test('renewal in flight during release: no resurrection, no unhandled rejection', async () => {
    const { tp, other, advance } = setup()
    for (let i = 0; i < 20; i++) {
      const held = await tp.lock.acquire('a', { lease: '9s' })
      // Both are sent in one go, in either order.
      const [released] =
        i % 2
          ? await Promise.all([held.release(), advance('3s')])
          : (await Promise.all([advance('3s'), held.release()])).toReversed()
      expect(released).toBe(true)
      expect(held.lost).toBe(false)
      const next = await other.lock.acquire('a', { lease: '9s' })
      await next.release()
    }
  })

  test('the app’s clock off by an hour: no effect', async () => {
    const { tp, other, advance } = setup()
    const now = Date.now
    onTestFinished(() => void (Date.now = now))
    const first = await tp.lock.acquire('a', { lease: '10s' })
    Date.now = () => now() + 3_600_000
    expect(first.lost).toBe(false)
    await expect(other.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    await advance('11s')
    Date.now = () => now() - 3_600_000
    expect(first.lost).toBe(true)
    const second = await other.lock.acquire('a')
    expect(second.token).toBeGreaterThan(first.token)
    await second.release()
  })

  test('tokens grow although their counter was lost', async () => {
    const { tp, prefix, advance } = setup()
    const redis = server()
    const first = await tp.lock('a', {}, (_signal, { token }) => token)
    if (redis) await redis.send('UNLINK', `${prefix}:lock:{a}:token`)
    else await advance('8d')
    await advance('1ms')
    expect(await tp.lock('a', {}, (_signal, { token }) => token)).toBeGreaterThan(first)
  })

  test('close() gives back what this instance holds', async () => {
    const { other, prefix, store } = setup()
    const close = vi.spyOn(store, 'close').mockImplementation(async () => {})
    const tp = turnpike({ store, prefix })
    await tp.lock.acquire('a')
    await tp.semaphore('s', { limit: 1 }).acquire()
    await tp.close()
    expect(await other.lock('a', {}, () => 'free')).toBe('free')
    expect(await other.semaphore('s', { limit: 1 }).using(() => 'free')).toBe('free')
    close.mockRestore()
  })

  test('what cannot be used is refused at once', async () => {
    const { tp } = setup()
    await expect(tp.lock.acquire('')).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const name of [[], ['cart', ''], ['cart', 7], 7, undefined, null] as never[])
      await expect(tp.lock.acquire(name)).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const names of [[], [''], 'ab', undefined] as never[])
      await expect(tp.lock.all.acquire(names)).rejects.toMatchObject({ code: 'TP_KEY' })
    await expect(tp.lock.acquire('a', { leas: '1s' } as object)).rejects.toThrow(
      'Did you mean lease?',
    )
    await expect(tp.lock.acquire('a', { lease: 10 })).rejects.toMatchObject({ code: 'TP_OPTION' })
    await expect((tp.lock as any)('a', () => 1)).rejects.toMatchObject({ code: 'TP_OPTION' })
    expect(() => (tp.exclusive as any)({})).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })
})

/** A store whose subscribers hear nothing, and that counts its commands. */
function deaf(store: Store): { store: Store; count(): number } {
  let count = 0
  const silent = new Proxy(store, {
    get(target, name) {
      if (name === 'subscribe') return () => () => {}
      const value = Reflect.get(target, name) as unknown
      if (name === 'run') count++
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { store: silent, count: () => count }
}

describe.each(['in-process', 'Redis'])('on the %s engine in real time', (kind) => {
  test('1,000 waiters with lost messages: progress, no stampede', async () => {
    const redis = kind === 'Redis' ? await startRedis() : undefined
    onTestFinished(() => redis?.stop())
    const real = redis
      ? openStore({ source: redis.url, commandTimeout: 5000 }).store
      : new MemoryStore()
    const { store, count } = deaf(real)
    // Each instance stands for a process.
    const kits = Array.from({ length: 4 }, () => turnpike({ store, prefix: 'p' }))
    let inside = 0
    const began = performance.now()
    await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        kits[i % 4]!.lock('a', { wait: '2m', lease: '1m' }, async () => {
          expect(++inside).toBe(1)
          await tick()
          inside--
        }),
      ),
    )
    console.log(
      `1,000 waiters without messages, ${kind}: ${(count() / 1000).toFixed(2)} commands for each release, ${Math.round(performance.now() - began)} ms`,
    )
    expect(count()).toBeLessThan(5000)
  }, 120_000)
})

test('Redis restarted while held: loss reported within the lease', async () => {
  await using redis = await startRedis()
  await using tp = turnpike({ redis: redis.url })
  await tp.ready()
  const held = await tp.lock.acquire('a', { lease: '1500ms' })
  const taken = performance.now()
  let at = 0
  held.signal.addEventListener('abort', () => (at = performance.now() - taken))
  await redis.restart()
  await until('the signal fires', () => at > 0)
  expect(at).toBeLessThan(1500 + 130)
  expect(held.lost).toBe(true)
  expect(await held.release()).toBe(false)
  await tp.ready()
  await (await tp.lock.acquire('a', { wait: '2s' })).release()
})

test('Redis frozen while held: the signal fires when the lease may be over, not later', async () => {
  await using redis = await startRedis()
  await using tp = turnpike({ redis: redis.url })
  await tp.ready()
  const held = await tp.lock.acquire('a', { lease: '800ms' })
  const taken = performance.now()
  redis.freeze()
  await new Promise((resolve) => held.signal.addEventListener('abort', resolve))
  const ms = performance.now() - taken
  redis.thaw()
  expect(ms).toBeGreaterThan(700)
  expect(ms).toBeLessThan(1000)
})

test('Redis frozen: a lock is refused within the timeout and 30 ms, and no work is begun', async () => {
  await using redis = await startRedis()
  await using tp = turnpike({ redis: redis.url })
  await tp.ready()
  // On a loaded machine a healthy Redis misses the timeout, too.
  await until('it is warm', () => tp.lock('warm', {}, async () => true).catch(() => false))
  redis.freeze()
  let works = 0
  for (let i = 0; i < 8; i++) {
    const lost = watchStarvation()
    const began = performance.now()
    await expect(tp.lock(`a${i}`, {}, async () => works++)).rejects.toMatchObject({
      code: 'TP_UNAVAILABLE',
    })
    expect(performance.now() - began - lost()).toBeLessThan(TIMEOUT + 30)
  }
  expect(works).toBe(0)
  redis.thaw()
})

test('a lock whose reply was lost does not stay behind', async () => {
  await using redis = await startRedis()
  const { startFaultProxy } = await import('../../support/fault-proxy.ts')
  await using proxy = await startFaultProxy(redis.port)
  await using tp = turnpike({ redis: proxy.url })
  await using other = turnpike({ redis: redis.url })
  await Promise.all([tp.ready(), other.ready()])
  await tp.lock('warm', {}, () => {})
  proxy.set({ mode: 'stallDown' })
  await expect(tp.lock.acquire('a', { lease: '1m' })).rejects.toMatchObject({
    code: 'TP_UNAVAILABLE',
  })
  proxy.set({ mode: 'ok' })
  const next = await other.lock.acquire('a', { wait: '5s' })
  await next.release()
})

test('waitReplicas: a lock that no replica has does not count', async () => {
  await using master = await startRedis()
  await using replica = await startRedis({
    args: ['--replicaof', '127.0.0.1', String(master.port)],
  })
  await using tp = turnpike({ redis: master.url, commandTimeout: '2s' })
  await tp.ready()
  await until(
    'the replica follows',
    async () => (await replica.send('INFO', 'replication')).includes('master_link_status:up'),
    10_000,
  )
  // A lock is given up when the replica has not got it in time.
  await until('the replica has it', () =>
    tp.lock.acquire('a', { waitReplicas: 1, wait: '2s' }).then(
      async (lock) => (await lock.release(), true),
      () => false,
    ),
  )
  await expect(tp.lock.acquire('a', { waitReplicas: 2 })).rejects.toMatchObject({
    code: 'TP_UNAVAILABLE',
  })
  // It is not left behind, either.
  await (await tp.lock.acquire('a', { wait: '2s' })).release()
})
