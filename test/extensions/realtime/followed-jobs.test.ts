/** The progress of jobs, fed by their handlers. */
import { expect, it, onTestFinished } from 'vitest'
import { extension } from '../../../src/extension.ts'
import { jobs } from '../../../src/jobs.ts'
import { turnpike } from '../../../src/node.ts'
import { channels, progress, type ProgressState } from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'

function open(tenant?: () => string) {
  const store = testStore()
  const tp = turnpike({ store, logger: false, ...(tenant && { tenant }) })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  return { live, queue: jobs(tp), store, tasks: progress(live), tp }
}

it('steps and reports change the progress, and the end of the job ends it', async () => {
  const { live, queue, tasks } = open()
  const build = tasks.follow(
    async (title: string, { step, progress: report }) => {
      await step('read', () => 1)
      await step('render', () => 2)
      await report({ percent: 90, step: 'upload', cost: 0.5 })
      await report({ unrelated: true })
      return title
    },
    { total: 4 },
  )
  queue.define('report', build)
  const subscription = live.subscribe<ProgressState>('progress:r1')
  await subscription.ready
  await queue.work()
  await queue.add('report', 'sales', { id: 'r1' })
  const seen: unknown[] = []
  for await (const { data } of subscription) {
    seen.push([data!.percent, data!.step, data!.status])
    if (data!.status !== 'running') break
  }
  expect(seen).toEqual([
    [0, null, 'running'],
    [25, 'read', 'running'],
    [50, 'render', 'running'],
    [90, 'upload', 'running'],
    [100, 'upload', 'done'],
  ])
  expect((await queue.get('r1'))!.result).toBe('sales')
  expect(await tasks.of('r1').get()).toMatchObject({ cost: 0.5, steps: 4 })
})

it('an attempt that fails begins again, and the last one fails the progress', async () => {
  const { queue, store, tasks } = open()
  let attempts = 0
  const build = tasks.follow(
    async (_payload: unknown, { step }) => {
      await step('read', () => 1)
      attempts++
      throw new Error('a secret of the database')
    },
    { total: 2 },
  )
  queue.define('report', { retries: 1 }, build)
  await queue.work()
  await queue.add('report', {}, { id: 'r1' })
  await until('the first attempt has failed', () => attempts === 1)
  await until('it waits', async () => (await queue.get('r1'))!.state === 'delayed')
  expect(await tasks.of('r1').get()).toMatchObject({ percent: 50, status: 'running' })
  await store.advance('2h')
  await until('the second attempt has failed', () => attempts === 2)
  const state = await until('it has failed', async () => {
    const found = await tasks.of('r1').get()
    return found?.status === 'failed' && found
  })
  // What went wrong inside is no business of those who watch.
  expect(state).toMatchObject({ percent: 50, reason: null })
})

it('a job fails nothing where Redis does not get its progress', async () => {
  const { queue, store, tasks } = open()
  const run = store.run.bind(store) as (...call: any[]) => any
  Object.assign(store, {
    async run(operation: { name: string }, ...rest: any[]) {
      if (operation.name === 'progress.update') throw new Error('no such progress')
      return run(operation, ...rest)
    },
  })
  queue.define(
    'report',
    tasks.follow(async (_payload: unknown, { step }) => await step('read', () => 1)),
  )
  await queue.work()
  await queue.add('report', {}, { id: 'r1' })
  await queue.idle()
  expect(await queue.get('r1')).toMatchObject({ state: 'completed', result: 1 })
})

it('two tenants with the same job ID: nothing crosses', async () => {
  const { queue, tasks } = open(() => 'a')
  queue.define(
    'report',
    tasks.follow(async (_payload: unknown, { step }) => await step('read', () => 1)),
  )
  await queue.work()
  await queue.add('report', {}, { id: 'r1', tenant: 'a' })
  await until('it is done', async () => {
    return (await tasks.of('r1', { tenant: 'a' }).get())?.status === 'done'
  })
  expect(await tasks.of('r1', { tenant: 'b' }).get()).toBeUndefined()
})

it('a job that is given up after its worker has died fails its progress, and no other', async () => {
  const { tasks, tp } = open()
  await tasks.of('r1').start()
  await tasks.of('r2').done()
  tasks.follow(() => {})
  // So the queue reports it, in a process that has not run the job.
  const { events } = extension(tp, 'test', (context) => context)
  const event = { queue: 'default', type: 'failed', task: 'report', reason: 'stalled' } as const
  const unknown = { tenant: undefined, attempt: undefined, durationMs: undefined }
  for (const id of ['r1', 'r2', 'r3']) events.emit('job', { ...event, ...unknown, id })
  await until('it has failed', async () => (await tasks.of('r1').get())!.status === 'failed')
  expect((await tasks.of('r2').get())!.status).toBe('done')
  expect(await tasks.of('r3').get()).toBeUndefined()
})

it('total must be a number of steps', () => {
  const { tasks } = open()
  expect(() => tasks.follow(() => {}, { total: 0 })).toThrow(
    expect.objectContaining({ code: 'TP_OPTION', option: 'total' }),
  )
})
