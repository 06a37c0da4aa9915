/** Declares the cells of the matrix as tests. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Fault } from './faults.ts'
import { runFault, RECOVERY, type Cell } from './run.ts'
import type { FrameworkName } from './site.ts'
import type { ClientName } from '../../support/clients.ts'

/**
 * Returns the measurements of one fault. A loaded machine can starve Redis, which this process cannot
 * measure. So a slow answer fails the third time only. Wrong statuses and effects fail at once.
 */
async function trial(
  framework: FrameworkName,
  fault: Fault,
  client: ClientName | undefined,
): Promise<Cell[]> {
  for (let run = 1; ; run++) {
    const cells = await runFault(framework, fault, client)
    const late = cells.filter(({ late, recovery }) => late > 0 || recovery > RECOVERY)
    if (late.length === 0 || run === 3) {
      expect(late).toEqual([])
      return cells
    }
  }
}

/** Declares a test for a fault on a framework. Tests run concurrently, each with its own Redis. */
export function tryFault(
  framework: FrameworkName,
  fault: Fault,
  { seen = () => {}, client }: { seen?: (cells: Cell[]) => void; client?: ClientName } = {},
): void {
  const name = [framework, client].filter(Boolean).join(', ')
  test.concurrent(`${name}: ${fault.name}`, { timeout: 90_000 }, async () => {
    seen(await trial(framework, fault, client))
  })
}

/** Every rejection must be handled while the tests of this file run. */
export function expectNothingUnhandled(): void {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  beforeAll(() => void process.on('unhandledRejection', note))
  afterAll(() => {
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })
}
