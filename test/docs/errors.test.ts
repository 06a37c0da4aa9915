/** docs/errors.md has a section for each code, and for nothing else. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TurnpikeError, type ErrorCode } from '../../src/index.ts'
import { ROOT, textOf } from './blocks.ts'

const source = readFileSync(join(ROOT, 'src/errors.ts'), 'utf8')
const declared = /export type ErrorCode =([\s\S]*?)\n\n/.exec(source)![1]!
const codes = [...declared.matchAll(/'(TP_\w+)'/g)].map(([, code]) => code as ErrorCode)
const text = textOf('docs/errors.md')

test('every code has a section, and every section a code', () => {
  const sections = [...text.matchAll(/^## (TP_.+)$/gm)].map(([, heading]) => heading!)
  expect(codes.length).toBeGreaterThan(5)
  expect(sections.toSorted()).toEqual(codes.toSorted())
})

test('the table at the top has a row for each section, in the same order', () => {
  const rows = [...text.matchAll(/^\| \[(TP_\w+)\]\(#(\w+)\) \|/gm)]
  expect(rows.map(([, code]) => code)).toEqual(
    [...text.matchAll(/^## (TP_.+)$/gm)].map(([, heading]) => heading),
  )
  for (const [, code, anchor] of rows) expect(anchor).toBe(code!.toLowerCase())
})

test.each(codes)('the help of %s leads to its section', (code) => {
  const { help } = new TurnpikeError(code, 'x')
  // The heading is the code alone, so GitHub's anchor is the code in lower case.
  expect(help).toBe(`turnpike/docs/errors.md#${code.toLowerCase()}`)
  expect(text).toContain(`\n## ${code}\n`)
})

test('every reason of TP_UNAVAILABLE is explained', () => {
  const reasons = /export type UnavailableReason =([\s\S]*?)\n\n/.exec(source)![1]!
  for (const [, reason] of reasons.matchAll(/\| '([\w-]+)'/g))
    expect(text).toContain(`\`${reason}\``)
})
