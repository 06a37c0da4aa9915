import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  createBegin,
  createComplete,
  FINGERPRINT_LENGTH,
  releaseKey,
  renewKey,
  saveStep,
} from '../../../src/features/idempotency/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const LEASES = [1, 10, 50, 1000]
const TIMES = [1000, 60_000]
const begins = LEASES.flatMap((lease) =>
  TIMES.flatMap((ttl) =>
    (['rerun', 'conflict'] as const).map((onCrash) => createBegin({ lease, ttl, onCrash })),
  ),
)
const completes = TIMES.map((ttl) => createComplete({ ttl }))
const begin = fc.constantFrom(...begins)
const complete = fc.constantFrom(...completes)

const step = fc.record({
  operation: fc.oneof(
    { weight: 3, arbitrary: begin },
    { weight: 1, arbitrary: complete },
    { weight: 5, arbitrary: fc.constantFrom(renewKey, releaseKey, releaseKey, saveStep, saveStep) },
  ),
  owner: fc.constantFrom('a', 'b', 'c'),
  fingerprint: fc
    .constantFrom('f', 'f', 'f', 'f', 'g')
    .map((print) => print.repeat(FINGERPRINT_LENGTH)),
  lease: fc.constantFrom(...LEASES),
  ttl: fc.constantFrom(...TIMES),
  name: fc.constantFrom('charge', '__proto__', ''),
  value: fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  waits: fc.boolean(),
  turn: fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 49, 50, 999, 1000, 60_001, -5),
})

test(
  `${SEQUENCES} random sequences: the scripts of idempotency and their twins reply and publish alike`,
  async () => {
    const tally = await differential({
      name: 'idempotency',
      operations: [...begins, ...completes, renewKey, releaseKey, saveStep],
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const key = `idempotency:{${id}}`
        const news = `news:${id}`
        let now = START
        for (const {
          operation,
          owner,
          fingerprint,
          lease,
          ttl,
          name,
          value,
          waits,
          turn,
        } of steps) {
          now += turn
          const call = (...args: (string | number | Buffer)[]): unknown =>
            run({ operation, keys: [key], args, now })
          const claim = fingerprint + owner
          if (operation === renewKey) call(claim, lease, ttl)
          else if (operation === releaseKey) call(claim, ...(waits ? ['1'] : []))
          else if (operation === saveStep) call(claim, name, value)
          else if (completes.some((each) => each === operation)) call(claim, value)
          else if (waits) call(claim, news)
          else call(claim)
        }
      },
    })
    for (const reply of [
      'begin a time',
      'begin 1',
      'begin 2',
      'begin 3',
      'begin 4',
      'begin 6',
      'renew 0',
      'renew 1',
      'complete 0',
      'complete 1',
      'release 0',
      'release 1',
      'saveStep -1',
      'saveStep 0',
      'saveStep 1',
    ]) {
      expect(tally[`idempotency.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
