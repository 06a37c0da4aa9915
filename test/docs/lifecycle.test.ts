/** docs/lifecycle.md names every phase of a response, and every member of a plan. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, textOf } from './blocks.ts'

const page = textOf('docs/lifecycle.md')
const source = (file: string): string => readFileSync(path.join(ROOT, 'src/http', file), 'utf8')
const words = new Set(page.match(/\w+/g))

test('the table has the phases of the type Phase, in its order', () => {
  const [, union = ''] =
    /^export type Phase =\n([\s\S]*?)\n\n/m.exec(source('response-state.ts')) ?? []
  const phases = [...union.matchAll(/^ *\| '([\w-]+)'/gm)].map(([, phase]) => phase)
  const rows = [...page.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, phase]) => phase)
  expect(phases.length).toBeGreaterThan(4)
  expect(rows).toEqual(phases)
  for (const phase of phases) expect(page).toContain(`"${phase}"`)
})

test.each(['PassPlan', 'Feature'])('the page names every member of %s', (name) => {
  const [, body = ''] = new RegExp(
    `^export interface ${name}\\b.*\\{\\n([\\s\\S]*?)^\\}`,
    'm',
  ).exec(source('exchange.ts'))!
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(
    ([, member]) => member!,
  )
  expect(members.length).toBeGreaterThan(4)
  const needless = ['name', 'onBackground', 'reply', 'refusal']
  expect(members.filter((each) => !words.has(each) && !needless.includes(each))).toEqual([])
})
