/** docs/errors.md has a section for each code, and for nothing else. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TurnpikeError, type ErrorCode } from '../../src/index.ts'
import { turnpike } from '../../src/node.ts'
import { ROOT, textOf } from './blocks.ts'

const source = readFileSync(join(ROOT, 'src/errors.ts'), 'utf8')
const declared = /export type ErrorCode =([\s\S]*?)\n\n/.exec(source)![1]!
const offered = Object.keys(turnpike({ redis: 'memory' }))
/** Codes of a feature that the kit does not offer yet are not documented yet. */
const isOffered = (code: string): boolean =>
  !code.startsWith('TP_SESSION_') || offered.includes('session')
const codes = [...declared.matchAll(/'(TP_\w+)'/g)]
  .map(([, code]) => code as ErrorCode)
  .filter(isOffered)
const text = textOf('docs/errors.md')

test('every code has a section, and every section a code', () => {
  const sections = [...text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading!)
  expect(codes.length).toBeGreaterThan(5)
  expect(sections.filter((each) => each.startsWith('TP_')).toSorted()).toEqual(codes.toSorted())
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
