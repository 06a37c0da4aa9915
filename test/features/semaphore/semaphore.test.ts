import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { bothEngines } from '../../support/engines.ts'
import { renewed } from '../../support/renewal.ts'

const engines = bothEngines()

describe.each(engines)('semaphores on the $name engine', ({ open }) => {
  function setup() {
    const opened = open()
    const tp = turnpike({ store: opened.store, prefix: opened.prefix })
    return { ...opened, tp, other: turnpike({ store: opened.store, prefix: opened.prefix }) }
  }

  test('300 parallel, limit 7: exactly 7 inside at any time', async () => {
    const { tp, other, advance } = setup()
    let inside = 0
    let most = 0
    let isOver = false
    const all = Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        (i % 2 ? tp : other)
          .semaphore('s', { limit: 7, lease: '1h' })
          .using({ wait: '1h' }, async () => {
            most = Math.max(most, ++inside)
            // However slow the machine is: the first ones stay until all places are taken.
            do await new Promise((resolve) => setTimeout(resolve, 1))
            while (most < 7)
            inside--
          }),
      ),
    ).then(() => (isOver = true))
    while (!isOver) {
      await advance('1s')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await all
    expect(most).toBe(7)
  })

  test('a crashed holder’s place is free after its lease; double release is harmless', async () => {
    const { tp, other, advance } = setup()
    const semaphore = tp.semaphore('s', { limit: 2, lease: '10s' })
    const [one, two] = [await semaphore.acquire(), await semaphore.acquire()]
    await expect(semaphore.acquire()).rejects.toMatchObject({
      code: 'TP_SEMAPHORE_FULL',
      status: 503,
    })
    expect(await one.release()).toBe(true)
    expect(await one.release()).toBe(true)
    expect(await semaphore.count()).toBe(1)
    const three = await other.semaphore('s', { limit: 2, lease: '10s' }).acquire()
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_SEMAPHORE_FULL' })
    // All of them stand still for longer than their leases, as a crash would have it.
    await advance('11s')
    expect([two.lost, three.lost]).toEqual([true, true])
    expect(await semaphore.count()).toBe(0)
    const next = [await semaphore.acquire(), await semaphore.acquire()]
    expect(await two.release()).toBe(false)
    expect(await semaphore.count()).toBe(2)
    await Promise.all(next.map((each) => each.release()))
    expect(await semaphore.count()).toBe(0)
  })

  test('a place is renewed while it is held', async () => {
    const { tp, advance, store } = setup()
    const semaphore = tp.semaphore('s', { limit: 1, lease: '9s' })
    const place = await semaphore.acquire()
    for (let i = 0; i < 8; i++) {
      await renewed({ store, advance }, '3s')
    }
    expect(place.lost).toBe(false)
    expect(await semaphore.count()).toBe(1)
  })

  test('the limit can be lowered while places are taken', async () => {
    const { tp } = setup()
    let limit = 3
    const semaphore = tp.semaphore('s', { limit: () => limit })
    const places = [await semaphore.acquire(), await semaphore.acquire(), await semaphore.acquire()]
    limit = 2
    await places[0]!.release()
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_SEMAPHORE_FULL' })
    await places[1]!.release()
    await (await semaphore.acquire()).release()
    limit = 1.5
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'TP_VALUE' })
  })

  test('fair: who came first is served first, over two instances', async () => {
    const { tp, other } = setup()
    const order: number[] = []
    const options = { limit: 1, fair: true } as const
    const held = await tp.semaphore('s', options).acquire()
    const all: Promise<unknown>[] = []
    for (let i = 0; i < 5; i++) {
      all.push(
        (i % 2 ? tp : other)
          .semaphore('s', options)
          .using({ wait: '1m' }, () => void order.push(i)),
      )
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    await held.release()
    await Promise.all(all)
    expect(order).toEqual([0, 1, 2, 3, 4])
  })
})
