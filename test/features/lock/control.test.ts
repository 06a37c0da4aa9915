/** Who holds a lock or a permit, and their release from another process. */
import { hostname } from 'node:os'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'
import { renewed } from '../../support/renewal.ts'

describe.each(bothEngines())('on the $name engine', ({ open, server }) => {
  function instances() {
    const { store, prefix, advance } = open()
    const options = { store, prefix }
    return { store, prefix, advance, tp: turnpike(options), other: turnpike(options) }
  }

  test('the holder of a lock is named by any process: host, pid, token and time', async () => {
    const { tp, other, store, advance } = instances()
    expect(await other.locks.holder('report')).toBeUndefined()
    const began = store.now()
    const lock = await tp.lock.acquire('report', { lease: '30s' })
    await advance('4s')
    expect(await other.locks.holder('report')).toEqual({
      host: hostname()
        .replaceAll(/[^\w.-]/g, '_')
        .slice(0, 63),
      pid: process.pid,
      token: lock.token,
      since: new Date(began),
      expires: new Date(began + 30_000),
    })
    await lock.release()
    expect(await other.locks.holder('report')).toBeUndefined()
  })

  test('the holder of a compound name and of a tenant is the one of exactly this lock', async () => {
    const { tp, other } = instances()
    await tp.lock.acquire(['cart', '7'])
    expect(await other.locks.holder(['cart', '7'])).toMatchObject({ pid: process.pid })
    expect(await other.locks.holder('cart')).toBeUndefined()
    expect(await other.forTenant('acme').locks.holder(['cart', '7'])).toBeUndefined()
    await tp.forTenant('acme').lock.acquire('a')
    expect(await other.forTenant('acme').locks.holder('a')).toMatchObject({ pid: process.pid })
    expect(await other.locks.holder('a')).toBeUndefined()
  })

  test('a lock is released by its token from another process, but not once another holder has it', async () => {
    const { tp, other } = instances()
    const first = await tp.lock.acquire('a')
    expect(await other.locks.release('a', { token: first.token + 1 })).toBe(false)
    expect(await other.locks.release('a', { token: first.token })).toBe(true)
    const second = await other.lock.acquire('a')
    expect(await tp.locks.release('a', { token: first.token })).toBe(false)
    expect(await second.release()).toBe(true)
  })

  test('a lock released by force goes to the next waiter, and its holder learns it with the next renewal', async () => {
    const { tp, other, store, advance } = instances()
    const lock = await tp.lock.acquire('a', { lease: '9s' })
    const waiting = other.lock.acquire('a', { wait: '1m' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await other.locks.release('a', { force: true })).toBe(true)
    const turning = setInterval(() => void advance('100ms'), 20)
    const next = await waiting
    clearInterval(turning)
    expect(next.token).toBeGreaterThan(lock.token)
    await renewed({ store, advance }, '3s')
    expect(lock.lost).toBe(true)
    expect(lock.signal.reason).toMatchObject({ code: 'TP_LOCK_LOST' })
    expect(await lock.release()).toBe(false)
    expect(next.lost).toBe(false)
    expect(await other.locks.release('free', { force: true })).toBe(false)
  })

  test('the pause after a run of once() is no holder and is not released', async () => {
    const { tp, other } = instances()
    await tp.once('a', '1h', () => 1)
    expect(await other.locks.holder('a')).toBeUndefined()
    expect(await other.locks.release('a', { force: true })).toBe(false)
    expect((await other.once('a', '1h', () => 1)).ran).toBe(false)
  })

  test('a release must say whose lock it means', async () => {
    const { tp } = instances()
    for (const options of [
      {},
      { token: 1, force: true },
      { token: 0 },
      { force: false },
      undefined,
    ])
      await expect(tp.locks.release('a', options as never)).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
    await expect(tp.locks.holder('')).rejects.toMatchObject({ code: 'TP_KEY' })
  })

  test('the holders of permits are named, and a crashed one is gone with its lease', async () => {
    const { tp, other, store, advance } = instances()
    const semaphore = tp.semaphore('s', { limit: 3, lease: '10s' })
    const began = store.now()
    const first = await semaphore.acquire()
    await advance('1s')
    await other.semaphore('s', { limit: 3, lease: '20s' }).acquire()
    const known = { host: expect.any(String) as string, pid: process.pid }
    expect(await semaphore.holders()).toEqual([
      { ...known, since: new Date(began), expires: new Date(began + 10_000) },
      { ...known, since: new Date(began + 1000), expires: new Date(began + 21_000) },
    ])
    await first.release()
    expect(await semaphore.holders()).toHaveLength(1)
    // No renewal happens meanwhile, as after a crash.
    await advance('30s')
    expect(await semaphore.holders()).toEqual([])
    await semaphore.acquire()
    expect(await semaphore.holders()).toHaveLength(1)
  })

  test('what another program wrote in the place of an owner is no holder of this package', async () => {
    const { tp, prefix } = instances()
    const redis = server()
    if (redis === undefined) return
    const hostile = 'x\r\n<script>/9/'
    await redis.send('HSET', `${prefix}:lock:{a}`, 'owner', hostile, 'token', 'x', 'until', '9e15')
    await redis.send('PEXPIRE', `${prefix}:lock:{a}`, '60000')
    expect(await tp.locks.holder('a')).toMatchObject({ host: 'unknown', pid: 0, token: 0 })
  })
})
