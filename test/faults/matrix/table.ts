/** The tables of docs/failure-modes.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { turnpike } from '../../../src/express.ts'
import { faults } from './faults.ts'
import { ANY_STATUS } from './feature.ts'
import { features } from './features.ts'
import type { Cell } from './run.ts'
import type { AnyTurnpike, FrameworkName, Site } from './site.ts'

const DOCUMENT = new URL('../../../docs/failure-modes.md', import.meta.url)

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

/** Returns the statuses of each kind of request under each fault. */
export function statusTable(): string {
  const tp: AnyTurnpike = turnpike({ redis: 'memory' })
  // No request is sent. Only the rules are read.
  const rig = { tp, site: { serve() {} } as unknown as Site, fault: faults[0]!, another: () => tp }
  const questions = features.flatMap((feature) => feature.open(rig).questions)
  return table(
    ['', ...questions.map(({ name }) => name)],
    faults.map((fault) => [
      fault.name,
      ...questions.map(({ rule }) => {
        const statuses = rule[fault.kind]
        return statuses === ANY_STATUS ? 'any' : [...new Set(statuses)].join(', ')
      }),
    ]),
  )
}

/** The figures of one framework: slowest answer / recovery, in ms. */
export function figureTable(seen: ReadonlyMap<string, readonly Cell[]>): string {
  const [first = []] = seen.values()
  return table(
    ['', ...first.map(({ question }) => question)],
    [...seen].map(([fault, cells]) => [
      fault,
      ...cells.map(({ slowest, recovery }) => `${slowest.toFixed(0)} / ${recovery.toFixed(0)}`),
    ]),
  )
}

const marks = (section: string): [string, string] => [
  `<!-- ${section}: written by npm run test:faults -->\n`,
  `\n<!-- end of ${section} -->`,
]

/** Returns the text between the marks of a section of the document. */
export function documented(section: string): string {
  const text = readFileSync(DOCUMENT, 'utf8')
  const [from, to] = marks(section)
  const start = text.indexOf(from)
  const end = text.indexOf(to)
  if (start < 0 || end < start) throw new Error(`docs/failure-modes.md has no section ${section}`)
  return text.slice(start + from.length, end)
}

export function document(section: string, text: string): void {
  const old = documented(section)
  const [from, to] = marks(section)
  const whole = readFileSync(DOCUMENT, 'utf8')
  writeFileSync(
    DOCUMENT,
    whole.replace(`${from}${old}${to}`, () => `${from}${text}${to}`),
  )
}

export const figuresOf = (framework: FrameworkName): string => `figures on ${framework}`
