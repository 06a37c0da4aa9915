import { expect, test } from 'vitest'
import { describe } from 'vitest'
import { bothEngines } from '../../support/engines.ts'
import { turnpike } from '../../../src/node.ts'
const engines = bothEngines()
describe.each(engines)('$name', ({ open }) => {
  test('lock', async () => {
    const { store, prefix, advance } = open()
    const tp = turnpike({ store, prefix })
    const a = await tp.lock.acquire('x')
    await expect(tp.lock.acquire('x')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    const b = tp.lock.acquire('x', { wait: '5s' })
    expect(await a.release()).toBe(true)
    const got = await b
    expect(got.token).toBeGreaterThan(a.token)
    await advance('31s')
    expect(got.lost).toBe(true)
    const c = await tp.lock.acquire('x')
    expect(c.token).toBeGreaterThan(got.token)
    expect(await got.release()).toBe(false)
    await expect(tp.lock.acquire('x')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    const s = tp.semaphore('s', { limit: 2 })
    const [p1, p2] = [await s.acquire(), await s.acquire()]
    await expect(s.acquire()).rejects.toMatchObject({ code: 'TP_FULL' })
    expect(await s.count()).toBe(2)
    await p1.release()
    expect(await s.using(() => 3)).toBe(3)
    expect(await p2.release()).toBe(true)
    expect(await p2.release()).toBe(true)
    expect(await tp.once('k', '1h', () => 5)).toEqual({ ran: true, value: 5 })
    expect(await tp.once('k', '1h', () => 6)).toEqual({ ran: false })
  })
  test('fair', async () => {
    const { store, prefix } = open()
    const tp = turnpike({ store, prefix })
    const order: number[] = []
    const a = await tp.lock.acquire('x', { fair: true })
    const all = [1, 2, 3].map(async (n) => {
      await new Promise((resolve) => setTimeout(resolve, n * 20))
      await tp.lock('x', { fair: true, wait: '10s' }, () => void order.push(n))
    })
    await new Promise((resolve) => setTimeout(resolve, 120))
    await a.release()
    await Promise.all(all)
    expect(order).toEqual([1, 2, 3])
  })
})
