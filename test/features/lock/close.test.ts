/** tp.close() while work is in progress: it stops taking, lets work finish, stores, and then ends. */
import { describe, expect, test, vi } from 'vitest'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

/** Two instances over one store, which outlives both. */
function instances() {
  const store = testStore()
  vi.spyOn(store, 'close').mockResolvedValue()
  return { store, tp: turnpike({ store }), other: turnpike({ store }) }
}

/** Work that ends when the test says so. */
function work() {
  let finish = (): void => {}
  const done = new Promise<void>((resolve) => (finish = resolve))
  return { finish, run: () => done.then(() => 'done') }
}

const isOver = async (promise: Promise<unknown>): Promise<boolean> =>
  await Promise.race([
    promise.then(() => true),
    new Promise<false>((resolve) => setTimeout(() => resolve(false), 20)),
  ])

type Instance = ReturnType<typeof turnpike>
const kinds: Record<string, (tp: Instance, work: (signal: AbortSignal) => any) => Promise<any>> = {
  'tp.lock()': (tp, work) => tp.lock('a', {}, work),
  'tp.lock.all()': (tp, work) => tp.lock.all(['a', 'b'], {}, work),
  'tp.once()': (tp, work) => tp.once('a', '1h', work).then(({ value }) => value),
  'semaphore.using()': (tp, work) => tp.semaphore('a', { limit: 1 }).using(work),
}

describe.each(Object.keys(kinds))('%s', (name) => {
  test('is waited for, and keeps its lease until it is done', async () => {
    const { tp, other } = instances()
    const { finish, run } = work()
    const running = kinds[name]!(tp, run)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const closing = tp.close()
    expect(await isOver(closing)).toBe(false)
    if (name === 'tp.once()') expect(await other.once('a', '1h', () => 1)).toEqual({ ran: false })
    else
      await expect(kinds[name]!(other, () => 1)).rejects.toMatchObject({
        code: name === 'semaphore.using()' ? 'TP_SEMAPHORE_FULL' : 'TP_LOCKED',
      })
    finish()
    expect(await running).toBe('done')
    await closing
    if (name !== 'tp.once()') expect(await kinds[name]!(other, () => 'free')).toBe('free')
  })

  test('that does not end in time loses its lease: its signal fires, and others can have it', async () => {
    const { tp, other } = instances()
    const reasons: unknown[] = []
    const running = kinds[name]!(tp, (signal) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('stopped')))
      })
    })
    const outcome = running.catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 5))
    await tp.close({ drain: 30 })
    const error = (await outcome) as Error
    expect(error).toMatchObject({ code: 'TP_LOCK_LOST', cause: { message: 'stopped' } })
    expect([...new Set(reasons)]).toContain(error)
    expect(await kinds[name]!(other, () => 'free')).toBe('free')
  })

  test('is not begun once the instance is closing', async () => {
    const { tp } = instances()
    const { finish, run } = work()
    const running = kinds[name]!(tp, run)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const closing = tp.close()
    await expect(tp.lock('c', {}, () => 1)).rejects.toMatchObject({ reason: 'closed' })
    finish()
    await running
    await closing
  })
})

describe.each(apps)('$name', ({ start }) => {
  function shop(mount: (tp: any) => any[]) {
    const { store, other } = instances()
    const gates: (() => void)[] = []
    const app = start({
      options: { store },
      mount,
      async handle() {
        await new Promise<void>((resolve) => gates.push(resolve))
        return [200, 'done']
      },
    })
    return { app, gates, other }
  }

  test('a running request keeps its lock until it is answered, and new requests are refused', async () => {
    const { app, gates, other } = shop((tp) => [tp.exclusive({ key: 'a' })])
    const first = app.post('/').then(({ text }) => text)
    await vi.waitFor(() => expect(gates).toHaveLength(1))
    const closing = app.tp.close()
    expect(await isOver(closing)).toBe(false)
    await expect(other.lock.acquire('a')).rejects.toMatchObject({ code: 'TP_LOCKED' })
    const refused = await app.post('/')
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '2'])
    gates[0]!()
    expect(await first).toBe('done')
    await closing
    expect(await other.lock('a', {}, () => 'free')).toBe('free')
  })

  test('the response of a running request is stored before the connections end', async () => {
    const store = testStore()
    let isClosed = false
    vi.spyOn(store, 'close').mockImplementation(async () => void (isClosed = true))
    const gates: (() => void)[] = []
    const events: string[] = []
    const app = start({
      options: { store },
      mount: (tp) => [tp.idempotency({ scope: () => 'me' })],
      async handle() {
        await new Promise<void>((resolve) => gates.push(resolve))
        return [200, 'done']
      },
    })
    app.tp.on('idempotency', ({ type }: { type: string }) => events.push(`${type} ${isClosed}`))
    const first = app.post('/', { 'Idempotency-Key': 'k' }).then(({ text }) => text)
    await vi.waitFor(() => expect(gates).toHaveLength(1))
    const closing = app.tp.close()
    expect(await isOver(closing)).toBe(false)
    expect((await app.post('/', { 'Idempotency-Key': 'other' })).status).toBe(503)
    gates[0]!()
    expect(await first).toBe('done')
    await closing
    expect(events).toEqual(['first false', 'stored false'])
  })

  test('a handler that never ends does not keep the instance from closing', async () => {
    const { app, gates } = shop((tp) => [tp.idempotency({ scope: () => 'me' })])
    void app.post('/', { 'Idempotency-Key': 'k' }).catch(() => {})
    await vi.waitFor(() => expect(gates).toHaveLength(1))
    await app.tp.close({ drain: 30 })
    gates[0]!()
  })
})

test('an instance without work in progress closes at once, and twice is once', async () => {
  const { tp } = instances()
  const lock = await tp.lock.acquire('a')
  const began = performance.now()
  await Promise.all([tp.close(), tp.close({ drain: '1h' })])
  expect(performance.now() - began).toBeLessThan(5000)
  expect(lock.signal.reason).toMatchObject({ code: 'TP_LOCK_LOST' })
  await expect(tp.close({ drain: 'soon' as never })).rejects.toMatchObject({ code: 'TP_OPTION' })
})
