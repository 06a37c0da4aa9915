/** Random sequences of requests under one key, against what docs/idempotency.md says. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CONTEXT } from '../../../src/extension.ts'
import { IdempotencyEngine, type BeginResult } from '../../../src/features/idempotency/engine.ts'
import type { Attempt } from '../../../src/features/idempotency/attempt.ts'
import { FINGERPRINT_LENGTH } from '../../../src/features/idempotency/operations.ts'
import { turnpike } from '../../../src/node.ts'
import { RequestBudget } from '../../../src/request-budget.ts'
import { testStore } from '../../../src/testing.ts'

const LEASE = 30_000
const TTL = 100_000

/** What the model knows of an attempt. */
interface Known {
  real: Attempt
  print: string
  number: number
  /** End of its lease, and time of its next renewal. */
  until: number
  due: number
  alive: boolean
  ended: boolean
}

/** What is stored under the key. */
interface Kept {
  print: string
  ends: number
  attempt: Known
  response: string | undefined
}

class Model {
  now = 0
  kept: Kept | undefined
  attempts: Known[] = []
  lastToken = 0

  live(): Kept | undefined {
    return this.kept && this.kept.ends > this.now ? this.kept : undefined
  }

  /** What the next request with the key gets. */
  expected(print: string): BeginResult['kind'] {
    const kept = this.live()
    if (!kept) return 'attempt'
    if (kept.print !== print) return 'mismatch'
    if (kept.response !== undefined) return 'completed'
    return kept.attempt.until > this.now ? 'running' : 'attempt'
  }

  turn(ms: number): void {
    this.now += ms
    for (const attempt of this.attempts) {
      if (!attempt.alive || attempt.ended || this.now < attempt.due) continue
      const kept = this.live()
      const isOwn = kept?.attempt === attempt && kept.response === undefined
      if (this.now >= attempt.until || !isOwn) {
        attempt.alive = false
      } else {
        attempt.until = this.now + LEASE
        attempt.due = this.now + LEASE / 3
        kept.ends = this.now + TTL
      }
    }
  }
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('begin'), which: fc.constantFrom(0, 0, 0, 1) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('complete', 'release', 'crash'),
      which: fc.nat({ max: 7 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('turn'),
      which: fc.constantFrom(1, 9_999, 10_000, 15_000, 29_999, 30_000, 99_999, 100_001),
    }),
  },
)

test('any order of requests, responses, failures, crashes and waits: one runs, one response, tokens grow', async () => {
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }),
      async (steps) => {
        const store = testStore()
        const context = turnpike({ store })[CONTEXT]('idempotency')
        const engine = new IdempotencyEngine(context, {
          name: 'model',
          ttl: TTL,
          lease: LEASE,
          maxLease: Number.MAX_SAFE_INTEGER,
          onCrash: 'rerun',
        })
        const model = new Model()
        for (const { do: what, which } of steps) {
          if (what === 'turn') {
            model.turn(which)
            await store.advance(which)
          } else if (what === 'begin') {
            const print = `print ${which}`.padEnd(FINGERPRINT_LENGTH, '.')
            const expected = model.expected(print)
            const before = model.live()
            const outcome = await engine.begin('tag', print, {
              wait: 0,
              budget: new RequestBudget(1000),
            })
            seen.set(outcome.kind, (seen.get(outcome.kind) ?? 0) + 1)
            expect(outcome.kind).toBe(expected)
            if (outcome.kind === 'running')
              expect(outcome.leftMs).toBe(before!.attempt.until - model.now)
            if (outcome.kind === 'completed')
              expect(String(outcome.response.body)).toBe(before!.response)
            if (outcome.kind !== 'attempt') continue
            const { attempt: real } = outcome
            const number = (before?.attempt.number ?? 0) + 1
            expect(real.attempt).toBe(number)
            // A key that was released begins again, by Redis's microseconds. This clock may stand still.
            expect(real.token).toBeGreaterThanOrEqual(model.lastToken + (before ? 1 : 0))
            model.lastToken = real.token
            const attempt: Known = {
              real,
              print,
              number,
              until: model.now + LEASE,
              due: model.now + LEASE / 3,
              alive: true,
              ended: false,
            }
            model.attempts.push(attempt)
            model.kept = { print, ends: model.now + TTL, attempt, response: undefined }
          } else {
            const attempt = model.attempts.filter(({ ended }) => !ended)[which]
            if (!attempt) continue
            const kept = model.live()
            const isOwn = kept?.attempt === attempt
            if (what === 'crash') {
              attempt.alive = false
              attempt.real.lease.end()
            } else if (what === 'release') {
              attempt.ended = true
              await attempt.real.release()
              if (isOwn) model.kept = undefined
            } else {
              attempt.ended = true
              const response = `response ${attempt.real.token}`
              const done = attempt.real.complete({
                status: 201,
                headers: {},
                removed: [],
                body: Buffer.from(response),
              })
              if (kept && !isOwn) {
                await expect(done).rejects.toMatchObject({ code: 'TP_IDEMPOTENCY_LOST' })
              } else {
                await done
                const { print } = attempt
                model.kept = { print, ends: model.now + TTL, attempt, response }
              }
            }
          }
        }
        for (const { real } of model.attempts) real.lease.end()
      },
    ),
    { numRuns: 300 },
  )
  for (const kind of ['attempt', 'running', 'completed', 'mismatch'])
    expect(seen.get(kind), kind).toBeGreaterThan(0)
})
