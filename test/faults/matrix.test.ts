/**
 * A cut through the matrix of faults and features: `npm run test:faults` runs the whole of it.
 * What is asserted of each cell: test/faults/matrix/run.ts and features.ts.
 */
import { expect, test } from 'vitest'
import { faultCalled } from './matrix/faults.ts'
import { documented, statusTable } from './matrix/table.ts'
import { expectNothingUnhandled, tryFault } from './matrix/trial.ts'

expectNothingUnhandled()

const CUT = [
  'stalled (half-open)',
  'replies lost',
  '20 % resets',
  'frozen (SIGSTOP)',
  'killed (SIGKILL)',
  'READONLY',
  'OOM (noeviction)',
  'wrong password',
  'ACL without scripts',
]

for (const name of CUT)
  for (const framework of ['Express 5', 'Koa 3'] as const) tryFault(framework, faultCalled(name))
for (const name of CUT) tryFault('Express 4', faultCalled(name), { client: 'ioredis 5' })

test('docs/failure-modes.md has the statuses that are asserted here', () => {
  expect(documented('statuses')).toBe(statusTable())
})
