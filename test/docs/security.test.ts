/** SECURITY.md: each claim leads to a test that attacks it, and each of those tests runs. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, textOf } from './blocks.ts'

const section = /## What we defend against\n([\s\S]*?)\n## /.exec(textOf('SECURITY.md'))![1]!
const claims = section
  .split(/^- /m)
  .slice(1)
  .map((claim) => [/\*\*(.+?)\.\*\*/.exec(claim)?.[1] ?? claim, claim] as const)

test('there are claims', () => expect(claims.length).toBeGreaterThan(10))

test.each(claims)('%s', (_, claim) => {
  const files = [...claim.matchAll(/\]\((test\/[^)]+)\)/g)].map(([, file]) =>
    path.join(ROOT, file!),
  )
  expect(files).not.toEqual([])
  for (const file of files) {
    expect(existsSync(file), file).toBe(true)
    // A file that `vitest run` finds, and that tests something.
    expect(file).toMatch(/\.test\.ts$/)
    expect(readFileSync(file, 'utf8')).toMatch(/\b(?:it|test)(?:\.each)?\b[\s\S]*\bexpect/)
  }
})
