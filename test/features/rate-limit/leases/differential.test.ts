import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ALGORITHMS,
  algorithmOf,
  type RateLimitAlgorithm,
} from '../../../../src/features/rate-limit/algorithms/index.ts'
import { numbersOf } from '../../../../src/features/rate-limit/operations/apply-policies.ts'
import {
  leaseArguments,
  leasePolicies,
} from '../../../../src/features/rate-limit/operations/lease-policies.ts'
import { differential, SEQUENCES, START } from '../../../support/differential.ts'
import { argumentsOf, enduring, knownPolicy, outliving } from '../support.ts'

const leasing = outliving(leasePolicies)

/** Times of a lease. All processes should have one. */
const LEASES = [4_000, 1_500]
const WINDOWS = [60_000, 86_400_000]
const POLICIES = 2

const step = fc.record({
  action: fc.constantFrom(
    'consume',
    'consume',
    'consume',
    'countDenied',
    'giveBack',
    'charge',
    'refund',
    'peek' as const,
  ),
  policies: fc.array(
    fc.record({
      limit: fc.constantFrom(0, 10, 64, 100, 640, 6_400, 1e12),
      cost: fc.constantFrom(0, 1, 1, 1, 2, 7, 60),
      blockFor: fc.constantFrom(0, 0, 0, 5_000),
      want: fc.constantFrom(0, 1, 4, 10, 100, 1e6),
      back: fc.constantFrom(0, 0, 1, 5, 90),
      granted: fc.constantFrom(0, 1, 5, 10, 100),
      band: fc.constantFrom(0, 4, 40, 400),
    }),
    { minLength: 1, maxLength: POLICIES },
  ),
  turn: fc.oneof(
    fc.constantFrom(0, 0, 0, 0.01, 0.03, 0.1, -0.3, 1.1),
    fc.double({ min: 0, max: 0.4, noNaN: true }),
  ),
  past: fc.nat({ max: 5 }),
  lease: fc.constantFrom(0, 0, 0, 1),
  wrongPeriod: fc.constantFrom(...Array(15).fill(false), true),
})

const sequences = fc.record({
  algorithms: fc.array(fc.constantFrom<RateLimitAlgorithm>(...ALGORITHMS.map(({ name }) => name)), {
    minLength: POLICIES,
    maxLength: POLICIES,
  }),
  windows: fc.array(fc.constantFrom(...WINDOWS), { minLength: POLICIES, maxLength: POLICIES }),
  step,
})

test(
  'the script that leases and its twin reply alike',
  async () => {
    let leased = 0
    const tally = await differential({
      name: 'leases of limits',
      operations: [leasing, enduring],
      step: sequences,
      channel: (id) => `${id}:none`,
      play(steps, id, run) {
        // A state belongs to one algorithm and one window.
        const { algorithms, windows } = steps[0]!
        let now = START
        const times = [0]
        for (const { step } of steps) {
          const { action, policies, turn, past, lease, wrongPeriod } = step
          now += Math.round(turn * windows[0]!)
          const known = policies.map(({ limit, cost, blockFor }, i) => {
            const { hasCalendar } = algorithmOf(algorithms[i]!)
            const period = now - (now % windows[i]!) + (wrongPeriod ? windows[i]! : 0)
            return {
              algorithm: algorithms[i]!,
              window: windows[i]!,
              name: `p${i}`,
              ...(hasCalendar && { parameter: period }),
              limit,
              cost,
              blockFor,
              override: 0,
            }
          })
          const keys = policies.map((_, i) => `${id}:${i}`)
          if (action === 'charge' || action === 'refund' || action === 'peek') {
            const chargedAt = times.at(-1 - past) ?? 0
            const args = argumentsOf(action, known, action === 'refund' ? chargedAt : 0)
            run({ operation: enduring, keys, args, now })
          } else if (action !== 'giveBack' || policies.some(({ back }) => back > 0)) {
            const args = leaseArguments(action, known.map(knownPolicy), {
              grantedAt: times.at(-1 - past) ?? 0,
              lease: LEASES[lease]!,
              back: policies.map(({ back }) => back),
              granted: policies.map(({ granted }, i) =>
                algorithmOf(algorithms[i]!).holdsLeases ? granted : 0,
              ),
              want: policies.map(({ want }) => want),
              band: policies.map(({ band }) => band),
            })
            const reply = numbersOf(run({ operation: leasing, keys, args, now }) as Buffer)
            if (!reply.every(Number.isSafeInteger)) throw new Error(`not whole: ${String(reply)}`)
            if (reply.slice(-policies.length).some((units) => units > 0)) leased++
          }
          times.push(now)
        }
      },
    })
    expect(leased).toBeGreaterThan(0)
    expect(Object.keys(tally).length).toBeGreaterThan(1)
  },
  60_000 + SEQUENCES * 20,
)
