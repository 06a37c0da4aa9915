/** docs/errors.md has a section for each code, and for nothing else. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TurnpikeError, type ErrorCode } from '../../src/index.ts'
import { ROOT, textOf } from './blocks.ts'

const source = readFileSync(join(ROOT, 'src/errors.ts'), 'utf8')
const declared = /export type ErrorCode =([\s\S]*?)\n\n/.exec(source)![1]!
const all = [...declared.matchAll(/'(TP_\w+)'/g)].map(([, code]) => code as ErrorCode)
/** The codes of a feature are documented together with it: from when its page is there. */
const PAGES: Record<string, string> = { TP_SESSION_: 'docs/sessions.md' }
const codes = all.filter((code) => {
  const [, page] = Object.entries(PAGES).find(([start]) => code.startsWith(start)) ?? []
  return page === undefined || existsSync(join(ROOT, page))
})
const text = textOf('docs/errors.md')

test('every code has a section, and every section a code', () => {
  const sections = [...text.matchAll(/^## (TP_.+)$/gm)].map(([, heading]) => heading!)
  expect(codes.length).toBeGreaterThan(5)
  expect(sections).toEqual(expect.arrayContaining(codes))
  expect(all).toEqual(expect.arrayContaining(sections))
  expect(new Set(sections).size).toBe(sections.length)
})

test.each(codes)('the help of %s leads to its section', (code) => {
  const { help } = new TurnpikeError(code, 'x')
  // The heading is the code alone, so GitHub's anchor is the code in lower case.
  expect(help).toBe(`docs/errors.md#${code.toLowerCase()}`)
  expect(text).toContain(`\n## ${code}\n`)
})

test('every reason of TP_UNAVAILABLE is explained', () => {
  const reasons = /export type UnavailableReason =([\s\S]*?)\n\n/.exec(source)![1]!
  for (const [, reason] of reasons.matchAll(/\| '([\w-]+)'/g))
    expect(text).toContain(`\`${reason}\``)
})
