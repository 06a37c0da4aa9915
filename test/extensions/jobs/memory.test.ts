/** Jobs in the process: what users test with, on a clock that only the test turns. */
import { describe, expect, test, vi } from 'vitest'
import { jobs, type JobContext, type PayloadSchema } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'

function open(options: Parameters<typeof jobs>[1] = {}) {
  const store = testStore()
  const tp = turnpike({ store })
  return { store, tp, queue: jobs(tp, options) }
}

const boom = (): never => {
  throw new Error('no mail today')
}

/** Lets everything run that waits for nothing but other code. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

/** A schema as zod, valibot and arktype offer it. */
const mailSchema: PayloadSchema<{ to: string; at: Date }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate(value) {
      const { to, at } = (value ?? {}) as { to?: unknown; at?: string }
      if (typeof to !== 'string') return { issues: [{ message: 'Required', path: ['to'] }] }
      return { value: { to, at: new Date(at ?? 0) } }
    },
  },
}

describe('retries', () => {
  test('a job runs at once, and again after 60, 120 and 240 s. Then it is a dead letter', async () => {
    const { store, queue } = open()
    const starts: number[] = []
    const began = store.now()
    queue.define('mail', { backoff: { jitter: 0 } }, () => {
      starts.push((store.now() - began) / 1000)
      boom()
    })
    await queue.work()
    const { id } = await queue.add('mail', { to: 'ann' })
    await queue.idle()
    for (const pause of ['60s', '120s', '240s'] as const) {
      expect((await queue.get(id))!.state).toBe('delayed')
      await store.advance(pause)
      await settle()
    }
    expect(starts).toEqual([0, 60, 180, 420])
    const [dead, ...others] = await queue.failed.list()
    expect(others).toEqual([])
    expect(dead).toMatchObject({ id, task: 'mail', state: 'failed', attempts: 4 })
    expect(dead!.reason).toBe('no mail today')
    expect(dead!.stack).toMatch(/^Error: no mail today\n.* at boom/s)
  })

  test('pauses are never shorter than that, and at most a tenth longer', async () => {
    const { store, queue } = open()
    const run = vi.fn(boom)
    queue.define('mail', { retries: 1 }, run)
    await queue.work({ concurrency: 100 })
    await queue.addMany(Array.from({ length: 100 }, () => ({ task: 'mail' })))
    await queue.idle()
    await store.advance(59_999)
    await settle()
    expect(run).toHaveBeenCalledTimes(100)
    await store.advance(3000)
    await settle()
    const early = run.mock.calls.length
    expect(early).toBeGreaterThan(100)
    expect(early).toBeLessThan(200)
    await store.advance(3001)
    await settle()
    expect(run).toHaveBeenCalledTimes(200)
  })

  test('a dead letter that is retried has all its attempts again', async () => {
    const { store, queue } = open()
    let isWell = false
    queue.define('mail', { retries: 0 }, () => (isWell ? 'sent' : boom()))
    await queue.work()
    const { id } = await queue.add('mail')
    await queue.idle()
    expect(await queue.failed.retry('other')).toBe(false)
    isWell = true
    expect(await queue.failed.retry(id)).toBe(true)
    await queue.idle()
    expect(await queue.get(id)).toMatchObject({ state: 'completed', result: 'sent', attempts: 1 })
    expect(await queue.failed.retry(id)).toBe(false)
    expect(await queue.failed.drop(id)).toBe(false)
    expect(await queue.failed.list()).toEqual([])
    await store.advance('25h')
    expect(await queue.get(id)).toBeUndefined()
  })

  test('an error that says so is not retried, and its job can be dropped', async () => {
    const { queue } = open()
    queue.define('mail', () => {
      throw Object.assign(new Error('no such address'), { retry: false })
    })
    await queue.work()
    const { id } = await queue.add('mail')
    await queue.idle()
    expect(await queue.get(id)).toMatchObject({ state: 'failed', attempts: 1 })
    expect(await queue.failed.drop(id)).toBe(true)
    expect(await queue.get(id)).toBeUndefined()
  })
})

describe('when jobs run', () => {
  test('urgent ones first, equal ones in their order', async () => {
    const { queue } = open()
    const order: unknown[] = []
    queue.define('note', (payload) => void order.push(payload))
    for (const priority of ['low', 'normal', 'high', 'low', 'normal', 'high'] as const)
      await queue.add('note', `${priority} ${order.length}`, { priority })
    expect((await queue.counts()).priorities).toEqual({ high: 2, normal: 2, low: 2 })
    await queue.work()
    await queue.idle()
    expect(order.map((each) => String(each).split(' ')[0])).toEqual([
      'high',
      'high',
      'normal',
      'normal',
      'low',
      'low',
    ])
  })

  test('delayed ones at their time', async () => {
    const { store, queue } = open()
    const run = vi.fn()
    queue.define('note', run)
    await queue.work()
    await queue.add('note', 'in', { in: '10m' })
    await queue.add('note', 'at', { at: new Date(store.now() + 300_000) })
    expect(await queue.counts()).toMatchObject({ delayed: 2, waiting: 0 })
    await store.advance('5m')
    await settle()
    expect(run.mock.calls.map(([payload]) => payload)).toEqual(['at'])
    await store.advance('5m')
    await settle()
    expect(run.mock.calls.map(([payload]) => payload)).toEqual(['at', 'in'])
  })

  test('repeated ones by cron, in their time zone, however often the schedule is declared', async () => {
    const store = testStore({ now: Date.UTC(2026, 2, 28, 0, 0) })
    const instances = [1, 2, 3].map(() => jobs(turnpike({ store })))
    const runs: string[] = []
    for (const queue of instances) {
      queue.define('report', () => void runs.push(new Date(store.now()).toISOString()))
      await queue.add('report', {}, { every: '30 3 * * *', timeZone: 'Europe/Berlin' })
      await queue.work()
    }
    expect(await instances[0]!.schedules.list()).toEqual([
      {
        id: 'report',
        task: 'report',
        every: '30 3 * * *',
        timeZone: 'Europe/Berlin',
        nextAt: Date.UTC(2026, 2, 28, 2, 30),
      },
    ])
    for (let hour = 0; hour < 72; hour++) {
      await store.advance('1h')
      await settle()
    }
    // Summer time begins on March 29th at 2:00.
    expect(runs.map((each) => each.slice(5, 13))).toEqual(['03-28T03', '03-29T02', '03-30T02'])
    expect(await instances[1]!.schedules.remove('report')).toBe(true)
    expect(await instances[1]!.schedules.remove('report')).toBe(false)
    await store.advance('48h')
    await settle()
    expect(runs.length).toBe(3)
  })

  test('repeated ones by an interval, at once and then at each', async () => {
    const { store, queue } = open()
    const run = vi.fn()
    queue.define('tick', run)
    await queue.work()
    await queue.add('tick', {}, { every: '15m' })
    await settle()
    expect(run).toHaveBeenCalledTimes(1)
    for (let i = 2; i <= 4; i++) {
      await store.advance('14m')
      await settle()
      expect(run).toHaveBeenCalledTimes(i - 1)
      await store.advance('1m')
      await settle()
      expect(run).toHaveBeenCalledTimes(i)
    }
  })

  test('no more at once than the queue and the worker allow', async () => {
    const { store, queue, tp } = open({ concurrency: 3 })
    let [running, most] = [0, 0]
    queue.define('slow', async ({ ms }: { ms: number }) => {
      most = Math.max(most, ++running)
      await store.sleep(ms)
      running--
    })
    await queue.work({ concurrency: 2 })
    const other = jobs(turnpike({ store }), { concurrency: 3 })
    other.define('slow', async () => {
      most = Math.max(most, ++running)
      await store.sleep(1000)
      running--
    })
    await other.work({ concurrency: 2 })
    await queue.addMany(Array.from({ length: 10 }, () => ({ task: 'slow', payload: { ms: 1000 } })))
    for (let i = 0; i < 4; i++) {
      await settle()
      await store.advance(1000)
    }
    await queue.idle()
    expect(most).toBe(3)
    await tp.close()
  })

  test('no more within a time than the rate limit allows', async () => {
    const { store, queue } = open({ rateLimit: { limit: 2, window: '1s' } })
    const run = vi.fn()
    queue.define('call', run)
    await queue.work({ concurrency: 10 })
    await queue.addMany(Array.from({ length: 5 }, () => ({ task: 'call' })))
    for (const expected of [2, 4, 5]) {
      await settle()
      expect(run).toHaveBeenCalledTimes(expected)
      await store.advance('1s')
    }
  })
})

describe('a handler', () => {
  test('is aborted at its timeout, and its attempt counts as failed', async () => {
    const { store, queue } = open()
    const reasons: any[] = []
    queue.define('slow', { timeout: '30s', retries: 0 }, async (_payload, { signal }) => {
      await store.sleep(600_000, signal).catch((reason) => reasons.push(reason))
      return 'too late'
    })
    await queue.work()
    const { id } = await queue.add('slow')
    await settle()
    await store.advance('29s')
    await settle()
    expect(reasons).toEqual([])
    await store.advance('1s')
    await settle()
    expect(reasons[0]).toMatchObject({ code: 'TP_JOB_TIMEOUT' })
    const job = await queue.get(id)
    expect(job).toMatchObject({ state: 'failed', result: undefined })
    expect(job!.reason).toMatch(/longer than 30000 ms/)
  })

  test('whose schema never answers fails at its timeout, and close() ends', async () => {
    const { store, tp, queue } = open()
    let checks = 0
    const schema: PayloadSchema<number> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        // The payload was valid when it was added. The database that the schema asks hangs since.
        validate: (value) => (checks++ === 0 ? { value: value as number } : new Promise(() => {})),
      },
    }
    queue.define('check', { schema, timeout: '30s', retries: 0 }, () => 'done')
    queue.define('next', {}, () => 'done')
    await queue.work()
    const { id } = await queue.add('check', 1)
    const { id: next } = await queue.add('next')
    await settle()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      await store.advance('30s')
      await vi.advanceTimersByTimeAsync(5000)
    } finally {
      vi.useRealTimers()
    }
    await settle()
    expect(await queue.get(id)).toMatchObject({ state: 'failed' })
    expect(await queue.get(next)).toMatchObject({ state: 'completed' })
    await tp.close({ drain: 0 })
  })

  test('does each step once, whichever attempt does it', async () => {
    const { store, queue } = open()
    const done: string[] = []
    queue.define('order', { backoff: { jitter: 0 } }, async (_payload, { attempt, step }) => {
      const charge = await step('charge', () => {
        done.push('charge')
        return { id: `c${done.length}` }
      })
      if (attempt === 1) boom()
      const nothing = await step('__proto__', () => void done.push('proto'))
      if (attempt === 2) boom()
      return [charge.id, nothing]
    })
    await queue.work()
    const { id } = await queue.add('order')
    await queue.idle()
    await store.advance('60s')
    await settle()
    await store.advance('120s')
    await queue.idle()
    expect(done).toEqual(['charge', 'proto'])
    expect(await queue.get(id)).toMatchObject({ state: 'completed', result: ['c1', null] })
  })

  test('reports progress, and gets what the children of a flow returned, in their order', async () => {
    const { queue } = open()
    const progress: unknown[] = []
    queue.define('resize', async ({ width }: { width: number }, context: JobContext) => {
      await context.progress({ width })
      progress.push((await queue.get(context.id))!.progress)
      return `${width}.webp`
    })
    queue.define('publish', (_payload, { children }) => children())
    await queue.work({ concurrency: 3 })
    const { id } = await queue.flow({
      task: 'publish',
      children: [300, 600, 900].map((width) => ({ task: 'resize', payload: { width } })),
    })
    await queue.idle()
    expect((await queue.get(id))!.result).toEqual(['300.webp', '600.webp', '900.webp'])
    expect(progress).toEqual([{ width: 300 }, { width: 600 }, { width: 900 }])
  })

  test('of a parent does not run if a child fails for good', async () => {
    const { queue } = open()
    const parent = vi.fn()
    queue.define('part', { retries: 0 }, boom)
    queue.define('whole', parent)
    await queue.work()
    const { id } = await queue.flow({ task: 'whole', children: [{ task: 'part', id: 'p1' }] })
    expect((await queue.get(id))!.state).toBe('waiting-children')
    await settle()
    expect(await queue.get(id)).toMatchObject({ state: 'failed' })
    expect((await queue.get(id))!.reason).toMatch(/child .*p1 failed/)
    expect(parent).not.toHaveBeenCalled()
  })

  test('that does not exist in this worker lets the job wait for one that has it', async () => {
    const { store, queue } = open()
    queue.define('known', () => 1)
    queue.define('added-only', {})
    await queue.work()
    const { id } = await queue.add('added-only')
    await queue.idle()
    expect(await queue.get(id)).toMatchObject({ state: 'delayed', attempts: 1 })
    expect((await queue.get(id))!.reason).toMatch(/No handler for the task 'added-only'/)
    await store.advance('1h')
  })
})

describe('a payload', () => {
  test('is valid for its schema when it is added, and parsed for the handler', async () => {
    const { queue } = open()
    const run = vi.fn()
    queue.define('mail', { schema: mailSchema }, run)
    await queue.work()
    await expect(queue.add('mail', { cc: 'ann' })).rejects.toMatchObject({
      code: 'TP_JOB_PAYLOAD',
      status: 422,
      message: "The payload of 'mail' is invalid: to: Required.",
    })
    await queue.add('mail', { to: 'ann', at: new Date(7) })
    await queue.idle()
    expect(run.mock.calls[0]![0]).toEqual({ to: 'ann', at: new Date(7) })
    expect((await queue.counts()).completed).toBe(1)
  })

  test.each([
    ['larger than the limit', { text: 'x'.repeat(70_000) }, 413],
    ['a circle', Object.assign({}, { self: [] as unknown[] }), 422],
    ['a BigInt', { n: 1n }, 422],
    ['a function', () => 1, 422],
  ])('is refused if it is %s', async (what, payload: any, status) => {
    if (what === 'a circle') payload.self.push(payload)
    const { queue } = open()
    queue.define('mail', {})
    await expect(queue.add('mail', payload)).rejects.toMatchObject({
      code: 'TP_JOB_PAYLOAD',
      status,
    })
    expect((await queue.counts()).waiting).toBe(0)
  })

  test('that is poisonous ends among the dead letters with its reason, and others go on', async () => {
    const { queue } = open()
    queue.define('mail', { retries: 0 }, ({ to }: any) => to.toUpperCase())
    await queue.work()
    await queue.addMany([
      { task: 'mail', payload: { to: 'ann' }, id: 'good' },
      { task: 'mail', payload: null, id: 'poison' },
      { task: 'mail', payload: { to: 'bob' }, id: 'fine' },
    ])
    await queue.idle()
    expect((await queue.get('good'))!.result).toBe('ANN')
    expect((await queue.get('fine'))!.result).toBe('BOB')
    const [dead] = await queue.failed.list()
    expect(dead).toMatchObject({ id: 'poison', payload: null })
    expect(dead!.reason).toMatch(/Cannot destructure/)
  })
})

describe('the queue', () => {
  test('takes a job of an ID once, while it is kept', async () => {
    const { store, queue } = open({ keep: { completed: { age: '1h' } } })
    const run = vi.fn()
    queue.define('mail', run)
    await queue.work()
    for (let i = 0; i < 3; i++) await queue.add('mail', i, { id: 'mail-42' })
    await queue.idle()
    await queue.add('mail', 4, { id: 'mail-42' })
    await queue.idle()
    expect(run).toHaveBeenCalledTimes(1)
    await store.advance('61m')
    expect(await queue.get('mail-42')).toBeUndefined()
    await queue.add('mail', 5, { id: 'mail-42' })
    await queue.idle()
    expect(run).toHaveBeenCalledTimes(2)
  })

  test('keeps the jobs of tenants apart', async () => {
    const store = testStore()
    const tp = turnpike({ store, tenant: () => 'x' })
    const queue = jobs(tp)
    queue.define('mail', {})
    await expect(queue.add('mail')).rejects.toMatchObject({ code: 'TP_KEY' })
    await queue.add('mail', 1, { id: 'a', tenant: 'acme' })
    await queue.add('mail', 2, { id: 'a', tenant: 'other' })
    expect((await queue.counts()).waiting).toBe(2)
    expect(await queue.get('a', { tenant: 'acme' })).toMatchObject({ id: 'a', payload: 1 })
    expect(await queue.get('a', { tenant: 'third' })).toBeUndefined()
    expect(await queue.remove('a', { tenant: 'other' })).toBe(true)
    expect(await queue.get('a', { tenant: 'acme' })).toMatchObject({ tenant: 'acme' })
  })

  test('rejects while the store is away, and adds nothing', async () => {
    const { store, queue } = open()
    queue.define('mail', {})
    store.fail()
    const lost = { code: 'TP_UNAVAILABLE', status: 503 }
    await expect(queue.add('mail')).rejects.toMatchObject(lost)
    await expect(queue.addMany([{ task: 'mail' }])).rejects.toMatchObject(lost)
    await expect(queue.add('mail', 1, { every: '1h' })).rejects.toMatchObject(lost)
    expect(await queue.health()).toMatchObject({ status: 'unavailable' })
    store.recover()
    expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0 })
  })

  test('tells its health: backlog, age of the oldest job, whether anything works', async () => {
    const { store, queue } = open()
    queue.define('mail', () => 1)
    expect(await queue.health()).toEqual({ status: 'ok', backlog: 0, oldestMs: 0, workers: 0 })
    await queue.add('mail', 1, { priority: 'low' })
    await store.advance('5s')
    await queue.add('mail', 1, { priority: 'high' })
    expect(await queue.health()).toEqual({
      status: 'no-worker',
      backlog: 2,
      oldestMs: 5000,
      workers: 0,
    })
    await queue.work()
    await queue.idle()
    expect(await queue.health()).toEqual({ status: 'ok', backlog: 0, oldestMs: 0, workers: 1 })
  })

  test('reports what happens to jobs as events', async () => {
    const { store, queue, tp } = open()
    const seen: unknown[] = []
    tp.on('job', ({ type, attempt, reason }) => seen.push([type, attempt, reason]))
    queue.define('mail', { retries: 1, backoff: { jitter: 0 } }, boom)
    await queue.work()
    await queue.add('mail')
    await queue.idle()
    await store.advance('60s')
    await queue.idle()
    expect(seen).toEqual([
      ['added', undefined, undefined],
      ['started', 1, undefined],
      ['retrying', 1, 'no mail today'],
      ['started', 2, undefined],
      ['failed', 2, 'no mail today'],
    ])
  })

  test('lets running jobs finish when it is closed, and takes no other', async () => {
    const { store, queue, tp } = open()
    const done: number[] = []
    queue.define('slow', async (n: number) => {
      await store.sleep(1000)
      done.push(n)
    })
    await queue.work()
    await queue.add('slow', 1)
    await queue.add('slow', 2)
    await settle()
    const closed = tp.close()
    await store.advance(1000)
    await closed
    expect(done).toEqual([1])
  })

  test('breaks off jobs that go on for longer than closing may take. They will run again', async () => {
    const store = testStore()
    const [first, second] = [turnpike({ store }), turnpike({ store })]
    const queue = jobs(first)
    queue.define('slow', (_payload, { signal }) => store.sleep(60_000, signal))
    await queue.work()
    const { id } = await queue.add('slow')
    await settle()
    const later = jobs(second)
    // Closing the first instance would close the store under the second.
    store.close = async () => {}
    await first.close({ drain: 10 })
    expect(await later.get(id)).toMatchObject({ state: 'waiting', attempts: 0 })
  })
})

describe('mistakes are refused', () => {
  test.each([
    [{ nam: 'x' }, /there is no option nam. Did you mean name\?/],
    [{ path: 'jobs' }, /path must be a path that begins with '\/'/],
    [{ concurrency: 0 }, /concurrency must be an integer, from 1/],
    [{ rateLimit: { limit: 1 } }, /rateLimit must be an object with limit and window/],
    [{ keep: { completed: { age: '2y' } } }, /age must be a duration/],
    [{ keep: { done: {} } }, /no option done/],
  ])('jobs(tp, %j)', (options: any, message) => {
    expect(() => open(options)).toThrow(message)
  })

  test('of tasks and jobs, each with what to do', async () => {
    const { queue } = open()
    expect(() => queue.define('a b', {})).toThrow(/task must be up to 60 letters/)
    expect(() => queue.define('mail', { retrys: 1 } as any)).toThrow(/Did you mean retries\?/)
    expect(() => queue.define('mail', { schema: {} as any })).toThrow(/Standard Schema/)
    queue.define('mail.send', {})
    expect(() => queue.define('mail.send', {})).toThrow(/declared already/)
    await expect(queue.add('mail.sent')).rejects.toThrow(/Did you mean 'mail.send'\?/)
    await expect(queue.work()).rejects.toThrow(/No task has a handler/)
    for (const [options, message] of [
      [{ in: '10 minutes' }, /Did you mean '10m'\?/],
      [{ at: new Date('x') }, /at must be a valid Date/],
      [{ in: '1h', at: new Date() }, /in and at exclude each other/],
      [{ id: 'a:b' }, /id must be up to 100 letters/],
      [{ id: 'a@1' }, /id must be up to 100 letters/],
      [{ priority: 1 }, /priority must be 'high'/],
      [{ every: '5' }, /every must be an interval like '15m', or a cron/],
      [{ every: '61 * * * *' }, /every must be an interval like '15m', or a cron/],
      [{ every: '0 3 * * *', timeZone: 'Mars/Olympus' }, /cron expression .* known timeZone/],
      [{ every: '1h', timeZone: 'Europe/Berlin' }, /timeZone is for cron expressions only/],
      [{ every: 10 }, /every must be/],
    ] as const)
      await expect(queue.add('mail.send', 1, options as any), String(message)).rejects.toThrow(
        message,
      )
    await expect(queue.get('../etc')).rejects.toMatchObject({ code: 'TP_OPTION' })
    expect(() => queue.router({} as any)).toThrow(/authorize is required/)
    expect(() => queue.accept('', 1)).toThrow(/task must be/)
    await expect(queue.board()).rejects.toThrow(/needs Redis/)
  })

  test('a queue is one for its name, and settings that differ are refused', () => {
    const { queue, tp } = open({ name: 'mails' })
    expect(jobs(tp, { name: 'mails' })).toBe(queue)
    expect(jobs(tp)).not.toBe(queue)
    expect(() => jobs(tp, { name: 'mails', concurrency: 3 })).toThrow(/another concurrency/)
  })
})
