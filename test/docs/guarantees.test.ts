/** docs/guarantees.md: each guarantee leads to a test that is there, by its title where it is named. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, textOf } from './blocks.ts'

const rows = textOf('docs/guarantees.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (?:Guarantee|---)/.test(line))
  .map((row) => [row.split('|')[1]!.trim(), row] as const)

test('there are guarantees', () => expect(rows.length).toBeGreaterThan(20))

test.each(rows)('%s', (_, row) => {
  const links = [...row.matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)]+)\)/g)]
  if (!row.includes('](invariants.md)')) expect(links).not.toEqual([])
  for (const [, title, file] of links) {
    const target = path.join(ROOT, file!)
    expect(existsSync(target), file).toBe(true)
    if (title === path.basename(file!, '.test.ts')) continue
    expect(readFileSync(target, 'utf8')).toContain(title)
  }
})
