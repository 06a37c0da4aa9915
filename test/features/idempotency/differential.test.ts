import fc from 'fast-check'
import { expect, test } from 'vitest'
import { begin } from '../../../src/features/idempotency/begin.ts'
import { complete } from '../../../src/features/idempotency/complete.ts'
import { release } from '../../../src/features/idempotency/release.ts'
import { remember } from '../../../src/features/idempotency/remember.ts'
import { renew } from '../../../src/features/idempotency/renew.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const step = fc.record({
  operation: fc.constantFrom(
    begin,
    begin,
    begin,
    renew,
    complete,
    release,
    release,
    remember,
    remember,
  ),
  owner: fc.constantFrom('a', 'b', 'c'),
  fingerprint: fc.constantFrom('f', 'f', 'f', 'f', 'g'),
  lease: fc.constantFrom(1, 10, 50, 1000),
  ttl: fc.constantFrom(1000, 1000, 60_000),
  conflict: fc.constantFrom('', '', '', '1'),
  state: fc.constantFrom('c', 'c', 'm'),
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
      operations: [begin, renew, complete, release, remember],
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
          conflict,
          state,
          name,
          value,
          waits,
          turn,
        } of steps) {
          now += turn
          const call = (...args: (string | number | Buffer)[]): unknown =>
            run({ operation, keys: [key], args, now })
          if (operation === begin) {
            call(fingerprint, owner, lease, ttl, conflict, waits ? news : '')
          } else if (operation === renew) call(owner, lease, ttl)
          else if (operation === complete) call(owner, fingerprint, ttl, state, '201 {}', value)
          else if (operation === release) call(owner)
          else call(owner, name, value)
        }
      },
    })
    for (const reply of [
      'begin 1',
      'begin 2',
      'begin 3',
      'begin 4',
      'begin 5',
      'begin 6',
      'renew 0',
      'renew 1',
      'complete 0',
      'complete 1',
      'release 0',
      'release 1',
      'remember -1',
      'remember 0',
      'remember 1',
    ]) {
      expect(tally[`idempotency.${reply}`], reply).toBeGreaterThan(0)
    }
  },
  60_000 + SEQUENCES * 20,
)
