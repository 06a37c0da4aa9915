/** The whole matrix; its figures go into docs/failure-modes.md. */
import { afterAll } from 'vitest'
import { faultCalled, faults } from './matrix/faults.ts'
import type { Cell } from './matrix/run.ts'
import type { FrameworkName } from './matrix/site.ts'
import { document, figuresOf, figureTable, statusTable } from './matrix/table.ts'
import { expectNothingUnhandled, tryFault } from './matrix/trial.ts'

const ALL = faults.map(({ name }) => name)
const SAMPLE = [
  'stalled (half-open)',
  'frozen (SIGSTOP)',
  'killed (SIGKILL)',
  'READONLY',
  'ACL without scripts',
]
const plan: Record<FrameworkName, readonly string[]> = {
  'Express 5': ALL,
  'Koa 3': ALL,
  'Express 4': SAMPLE,
}
const frameworks = Object.keys(plan) as FrameworkName[]
const seen = new Map<string, Cell[]>()

expectNothingUnhandled()
for (const framework of frameworks)
  for (const name of plan[framework])
    tryFault(framework, faultCalled(name), {
      seen: (cells) => seen.set(`${framework} ${name}`, cells),
    })

afterAll(() => {
  // A run that failed has no figures to publish.
  if (
    frameworks.some((framework) =>
      plan[framework].some((name) => !seen.has(`${framework} ${name}`)),
    )
  )
    return
  document('statuses', statusTable())
  for (const framework of frameworks) {
    const cells = new Map(plan[framework].map((name) => [name, seen.get(`${framework} ${name}`)!]))
    document(figuresOf(framework), figureTable(cells))
  }
})
