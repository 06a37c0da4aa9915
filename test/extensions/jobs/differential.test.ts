/** Random programs of calls do the same on both engines as in the reference. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { BullmqEngine } from '../../../src/extensions/jobs/bullmq-engine.ts'
import {
  JobFailure,
  type JobEngine,
  type JobEngineOptions,
  type NewFlow,
} from '../../../src/extensions/jobs/engine.ts'
import { MemoryJobEngine } from '../../../src/extensions/jobs/memory-engine.ts'
import { extension, type ExtensionContext } from '../../../src/extension.ts'
import { turnpike } from '../../../src/node.ts'
import { startRedis, testStore, type RedisServer } from '../../../src/testing.ts'
import { until } from '../../support/until.ts'
import { ReferenceQueue, type Fate, type ReferenceJob } from './reference-queue.ts'

const RUNS = Number(process.env['DIFFERENTIAL_RUNS'] ?? 20)
const MAX_JOBS = 9
const HOUR = 3_600_000

let redis: RedisServer
let onRedis: ExtensionContext
let inProcess: ExtensionContext
beforeAll(async () => {
  redis = await startRedis()
  const tp = turnpike({ redis: redis.url, commandTimeout: '10s' })
  tp.on('warning', () => {})
  await tp.ready()
  const own = turnpike({ store: testStore() })
  own.on('warning', () => {})
  onRedis = extension(tp, 'queue', (context) => context)
  inProcess = extension(own, 'queue', (context) => context)
  return async () => {
    await tp.close()
    await own.close()
  }
})
afterAll(() => redis.stop())

type Step =
  | { type: 'add'; jobs: readonly ReferenceJob[] }
  | { type: 'flow'; parent: Omit<ReferenceJob, 'children'>; children: readonly ReferenceJob[] }
  | { type: 'remove' | 'retry'; pick: number }
  | { type: 'drain' }

const job: fc.Arbitrary<Omit<ReferenceJob, 'id'>> = fc.record({
  priority: fc.constantFrom('high' as const, 'normal' as const, 'low' as const),
  fate: fc.constantFrom<Fate>('ok', 'ok', 'ok', 'bad', 'fatal'),
  isDelayed: fc.constant(false),
  maxAttempts: fc.constantFrom(1, 2),
  children: fc.constant([]),
})
const named = fc
  .tuple(job, fc.integer({ min: 0, max: 7 }), fc.boolean())
  .map(([each, n, isDelayed]) => ({ ...each, id: `~j${n}`, isDelayed }))
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .uniqueArray(named, { minLength: 1, maxLength: 3, selector: ({ id }) => id })
      .map((jobs): Step => ({ type: 'add', jobs })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(job, fc.array(job, { minLength: 1, maxLength: 2 }))
      .map(([parent, children]): Step => ({
        type: 'flow',
        parent: { ...parent, id: '' },
        children: children.map((each) => ({ ...each, id: '' })),
      })),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom('remove' as const, 'retry' as const),
      pick: fc.nat(30),
    }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ type: 'drain' }) },
)

const plain = { priority: 'high', isDelayed: false, maxAttempts: 1, children: [], id: '' } as const
/** A parent whose child has failed for good runs without it when it is retried: `~p0` is the ninth ID. */
const PARENT_RETRIED_ALONE: Step[] = [
  {
    type: 'flow',
    parent: { ...plain, fate: 'ok' },
    children: [{ ...plain, fate: 'fatal' }],
  },
  { type: 'drain' },
  { type: 'retry', pick: 8 },
]

const optionsOf = (name: string): JobEngineOptions => ({
  name,
  maxJobs: MAX_JOBS,
  limits: { concurrency: undefined, rate: undefined },
  keep: { completed: { ageMs: HOUR, count: 100 }, failed: { ageMs: HOUR, count: 100 } },
  warn() {},
})

/** Returns a job as the engines store it. Its payload says what its handler does. */
const stored = ({ id, priority, fate, isDelayed, maxAttempts }: ReferenceJob): NewFlow => ({
  id,
  priority,
  task: 'task',
  data: { payload: fate },
  attempts: maxAttempts,
  delayMs: isDelayed ? HOUR : 0,
  children: [],
})

/** Starts what may start, one at a time, and returns what ran. */
async function drain(engine: JobEngine): Promise<string[]> {
  const order: string[] = []
  const worker = await engine.work({
    concurrency: 1,
    leaseMs: 30_000,
    async run({ id, data, attempt, attempts }) {
      if (!id.startsWith('~p')) order.push(id)
      if (data.payload === 'ok') return `${id} is done`
      const isFinal = data.payload === 'fatal' || attempt >= attempts
      throw new JobFailure(String(data.payload), 'stack', isFinal ? undefined : HOUR)
    },
    events: { onStalled() {}, onDead() {}, onError() {} },
  })
  await until('nothing waits', async () => {
    const { waiting, active } = await engine.counts()
    return waiting + active === 0
  })
  await worker.close(new AbortController().signal)
  return order
}

const refused = (error: { code?: string }): string => {
  if (error.code === 'TP_QUEUE_FULL') return 'full'
  throw error as Error
}

async function flatCounts(engine: JobEngine): Promise<object> {
  const { priorities, ...counts } = await engine.counts()
  return { ...counts, ...priorities }
}

async function view(engine: JobEngine, id: string): Promise<object | undefined> {
  const found = await engine.get(id)
  if (found === undefined) return undefined
  const { state, attempts, result, reason } = found
  const isByChild = reason !== undefined && /^child .* failed$/.test(reason)
  return { state, attempts, result, reason: isByChild ? 'a child failed' : reason }
}

/** Of the parent of a child that failed, BullMQ counts an attempt in which nothing ran. */
const comparable = (found: any): unknown =>
  found?.reason === 'a child failed' ? { ...found, attempts: 0 } : found

let programs = 0

test('both engines do what the reference does', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 16 }), async (steps) => {
      const name = `d${++programs}`
      const reference = new ReferenceQueue(MAX_JOBS)
      const engines: JobEngine[] = [
        new MemoryJobEngine(inProcess, optionsOf(name)),
        new BullmqEngine(onRedis, optionsOf(name)),
      ]
      onTestFinished(() => Promise.all(engines.map((engine) => engine.close())).then(() => {}))
      const ids = Array.from({ length: 8 }, (_, n) => `~j${n}`)
      const both = async (wanted: unknown, run: (engine: JobEngine) => Promise<unknown>) => {
        for (const engine of engines)
          expect(await run(engine), engine.constructor.name).toEqual(wanted)
      }
      for (const [i, each] of [...steps, { type: 'drain' } as const].entries()) {
        if (each.type === 'add')
          await both(reference.add(each.jobs), (engine) =>
            engine.add(each.jobs.map(stored)).then(() => 'added', refused),
          )
        else if (each.type === 'flow') {
          const parentId = `~p${i}`
          const children = each.children.map((child, n) => ({
            ...child,
            id: `~c${i}-${n}`,
            parent: parentId,
          }))
          const childIds = children.map(({ id }) => id)
          ids.push(parentId, ...childIds)
          const parent = { ...each.parent, id: parentId, children: childIds }
          await both(reference.add([parent, ...children]), (engine) =>
            engine
              .addFlow({ ...stored(parent), children: children.map(stored) })
              .then(() => 'added', refused),
          )
        } else if (each.type === 'drain') await both(reference.drain(), (engine) => drain(engine))
        else {
          const id = ids[each.pick % ids.length]!
          await both(
            each.type === 'remove' ? reference.remove(id) : reference.retry(id),
            (engine) => engine[each.type](id),
          )
        }
        await both(reference.counts(), flatCounts)
        await both(reference.failed().toSorted(), async (engine) =>
          (await engine.failed(0, 100)).map(({ id }) => id).toSorted(),
        )
        for (const id of ids)
          await both(comparable(reference.get(id)), async (engine) =>
            comparable(await view(engine, id)),
          )
      }
    }),
    { numRuns: RUNS, examples: [[PARENT_RETRIED_ALONE]] },
  )
})
