import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { signal, type Answer, type Signal } from '../../frameworks/harness.ts'
import { bothEngines, type EngineUnderTest } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { counting, kinds, statusOf } from './support.ts'

// The cache against a model that is too simple to be wrong: after each step both must agree on what is
// a hit, and on what it says. SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const RUNS = Number(process.env.RUNS ?? 60)
const TTL = 60_000

const TAGS: Record<string, string[]> = {
  '/a': ['one'],
  '/b': ['one', 'two'],
  '/c': ['two'],
  '/d': [],
}
/** Declared while the response is made, not before. */
const LATE = new Set(['/b', '/c'])
const PATHS = Object.keys(TAGS)

const path = fc.constantFrom(...PATHS)
const tags = fc.uniqueArray(fc.constantFrom('one', 'two', 'three'), { minLength: 1 })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('get' as const), path }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('write' as const), path }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('invalidate' as const), tags, soft: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('purge' as const), path }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('pattern' as const),
      glob: fc.constantFrom('/a*', '/?', '/x*'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      ms: fc.constantFrom(1, 1_000, 30_000, TTL - 1, TTL),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('begin' as const), path }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

interface Kept {
  value: number
  until: number
  valid: boolean
}

/** What a cache is: values that are good until a time or a word. */
class Model {
  now = 0
  readonly truth = new Map(PATHS.map((path) => [path, 0]))
  readonly kept = new Map<string, Kept>()
  /** What is being filled, and whether it is still valid. */
  filling: { path: string; value: number; valid: boolean } | undefined

  hit(path: string): Kept | undefined {
    const kept = this.kept.get(path)
    return kept?.valid && this.now < kept.until ? kept : undefined
  }

  begin(path: string): void {
    this.filling = { path, value: this.truth.get(path)!, valid: true }
  }

  end(): number {
    const { path, value, valid } = this.filling!
    this.kept.set(path, { value, valid, until: this.now + TTL })
    this.filling = undefined
    return value
  }

  forget(which: (path: string) => boolean): void {
    for (const [path, kept] of this.kept) if (which(path)) kept.valid = false
    if (this.filling && which(this.filling.path)) this.filling.valid = false
  }
}

const FORGET: Partial<Record<Step['kind'], (step: any) => (path: string) => boolean>> = {
  invalidate:
    ({ tags }) =>
    (path) =>
      TAGS[path]!.some((tag) => tags.includes(tag)),
  purge: (step) => (path) => path === step.path,
  pattern:
    ({ glob }) =>
    (path) =>
      glob === '/?' || (glob === '/a*' && path === '/a'),
  clear: () => () => true,
  lose: () => () => true,
}

async function play(steps: readonly Step[], engine: EngineUnderTest): Promise<void> {
  const { store, prefix, advance } = engine.open()
  const own = `${prefix}${Math.random().toString(36).slice(2)}`
  const model = new Model()
  let pause: { entered: Signal; goOn: Signal } | undefined
  const handler = counting(async ({ url, tags, send }) => {
    const value = model.truth.get(url)!
    const held = pause
    held?.entered.resolve()
    await held?.goOn.promise
    if (LATE.has(url)) tags(...TAGS[url]!)
    send(200, String(value))
  })
  const { tp, get } = await kinds.at(-1)!.start({
    options: { store, prefix: own, requestBudget: '9s' },
    handler,
    cache: {
      ttl: TTL,
      tags: (native: any) => (LATE.has(native.url) ? [] : TAGS[native.url]!),
    },
  })
  let stored = 0
  const made = async (): Promise<void> => {
    stored++
    await until('it is stored', () => tp.cache.stats().stored === stored)
  }
  let waiting: Promise<Answer> | undefined

  async function ask(path: string): Promise<void> {
    const hit = model.hit(path)
    const answer = await get(path)
    if (!hit) model.begin(path)
    const value = hit ? hit.value : model.end()
    expect([path, answer.text, statusOf(answer).includes('hit')]).toEqual([
      path,
      String(value),
      hit !== undefined,
    ])
    if (!hit) await made()
  }

  async function end(): Promise<void> {
    pause!.goOn.resolve()
    pause = undefined
    const { text } = await waiting!
    expect(text).toBe(String(model.end()))
    await made()
  }

  for (const step of steps) {
    switch (step.kind) {
      case 'get':
        // Whoever asks for what is being made waits for it; and only one is made at a time here.
        if (step.path === model.filling?.path) continue
        if (model.filling && !model.hit(step.path)) continue
        await ask(step.path)
        continue
      case 'write':
        model.truth.set(step.path, model.truth.get(step.path)! + 1)
        continue
      case 'begin':
        if (model.filling || model.hit(step.path)) continue
        pause = { entered: signal(), goOn: signal() }
        waiting = get(step.path)
        await pause.entered.promise
        model.begin(step.path)
        continue
      case 'end':
        if (model.filling) await end()
        continue
      case 'turn':
        await advance(step.ms)
        model.now += step.ms
        continue
      case 'invalidate':
        await tp.cache.invalidate({ tags: step.tags, soft: step.soft })
        break
      case 'purge':
        await tp.cache.purge(step.path)
        break
      case 'pattern':
        await tp.cache.invalidatePattern(step.glob)
        break
      case 'clear':
        await tp.cache.clear()
        break
      case 'lose': {
        const server = engine.server()
        const key = `${own}:inv:{log}`
        if (server) await server.send('DEL', key)
        else (store as any).delete(key)
      }
    }
    model.forget(FORGET[step.kind]!(step))
  }
  if (model.filling) await end()
  for (const path of PATHS) await ask(path)
  await tp.close()
}

describe.each(bothEngines())('the cache on the $name engine', (engine) => {
  test(`does what its model does, in ${RUNS} random lives`, { timeout: 120_000 }, async () => {
    console.log(`model of the cache: SEED=${SEED}`)
    const life = fc.array(step, { minLength: 5, maxLength: 40, size: 'max' })
    await fc.assert(
      fc.asyncProperty(life, (steps) => play(steps, engine)),
      { seed: SEED, numRuns: RUNS },
    )
  })
})
