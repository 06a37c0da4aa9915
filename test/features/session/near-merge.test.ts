/** Random programs of two processes that change one session: no change is lost, with near copies or without. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { nearProcesses } from './near-support.ts'
import { dataOf, gate, queryOf, type Gate, type Route } from './support.ts'

// SEED=<number> repeats a run.
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const PROGRAMS = Number(process.env.PROGRAMS ?? 20)
const engines = bothEngines()
const [kind] = apps as [(typeof apps)[number]]

const step = fc.record({
  process: fc.nat(1),
  change: fc.constantFrom('set', 'set', 'set', 'delete', 'none'),
  key: fc.constantFrom('a', 'b', 'c', 'd'),
  /** Number of later steps that run before the request ends. */
  lasts: fc.constantFrom(0, 0, 0, 1, 2, 3),
  /** Time that passes before the step, in ms. */
  passes: fc.constantFrom(0, 0, 0, 500, 10_000, 61_000),
})

const program = fc.record({
  steps: fc.array(step, { minLength: 5, maxLength: 20, size: 'max' }),
  /** The step from which on no message arrives. */
  losesFrom: fc.constantFrom(0, 3, 10, Infinity),
})

type Data = Record<string, string>

/** A request that has changed its session and has not ended. */
interface Running {
  readonly endsAt: number
  end(): Promise<void>
}

describe.each(engines)('two processes on the $name engine', (engine) => {
  test.each([
    ['near', { near: '1m' }],
    ['not near', { near: undefined }],
  ])('%s: no program loses a change', { timeout: 120_000 }, async (_name, session) => {
    const play = async ({
      steps,
      losesFrom,
    }: typeof program extends fc.Arbitrary<infer P> ? P : never) => {
      const doors = new Map<string, Gate>()
      const change: Route = async (native) => {
        const seen = { ...dataOf(native.session) }
        const [key, value] = [queryOf(native, 'key')!, queryOf(native, 'value')]
        if (value !== undefined) native.session[key] = value
        else if (queryOf(native, 'deletes')) delete native.session[key]
        await doors.get(queryOf(native, 'door')!)!.wait()
        return seen
      }
      const { here, elsewhere, advance, loseMessages } = nearProcesses(kind, engine, {
        session,
        routes: { '/change': change },
      })
      const someone = here.browser()
      await someone.get('/set?key=first&value=0')
      let model: Data = { first: '0' }
      const states = [JSON.stringify(model)]
      const running: Running[] = []
      const endUntil = async (at: number): Promise<void> => {
        for (const each of running.filter(({ endsAt }) => endsAt <= at)) {
          running.splice(running.indexOf(each), 1)
          await each.end()
        }
      }
      for (const [i, { process, change, key, lasts, passes }] of steps.entries()) {
        await endUntil(i)
        if (i === losesFrom) loseMessages()
        if (passes > 0) await advance(passes)
        const [door, value] = [gate(), `v${i}`]
        doors.set(value, door)
        const query = change === 'set' ? `&value=${value}` : change === 'delete' ? '&deletes=1' : ''
        const browser = [here, elsewhere][process]!.browser(someone.cookie())
        const response = browser.get(`/change?door=${value}&key=${key}${query}`)
        await door.arrived
        running.push({
          endsAt: i + lasts,
          async end() {
            door.open()
            const { status, text } = await response
            expect(status).toBe(200)
            const seen = JSON.parse(text) as Data
            // What a request reads was once stored, in this form.
            expect(states).toContain(JSON.stringify(sorted(seen)))
            if (change === 'set') model = { ...model, [key]: value }
            // To delete what the request did not see is no change.
            if (change === 'delete' && key in seen) {
              const { [key]: _deleted, ...rest } = model
              model = rest
            }
            states.push(JSON.stringify(sorted(model)))
          },
        })
        if (lasts === 0) await endUntil(i)
      }
      await endUntil(Infinity)
      // Copies are over: this is what is stored.
      await advance('1m')
      for (const each of [here, elsewhere])
        expect(sorted(await each.browser(someone.cookie()).json('/'))).toEqual(sorted(model))
    }
    await fc.assert(fc.asyncProperty(program, play), { seed: SEED, numRuns: PROGRAMS })
  })
})

const sorted = (data: Data): Data =>
  Object.fromEntries(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)))
