/** The tables of docs/cache.md against the codes in the source. */
import { expect, test } from 'vitest'
import { CACHE_REASONS } from '../../src/features/cache/reasons.ts'
import { textOf } from './blocks.ts'

test('docs/cache.md explains every code of Cache-Status and of the event, and no other', () => {
  const [, section = ''] = textOf('docs/cache.md').split('\n## What is cached, and what is not\n')
  const tables = section.split('\n### ', 1)[0]!
  const codes = tables
    .split('\n')
    .filter((line) => line.startsWith('| `') && !line.startsWith('| `detail`'))
    .flatMap((line) => [...line.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, code]) => code))
  expect(new Set(codes)).toEqual(new Set(Object.keys(CACHE_REASONS)))
  expect(codes).toHaveLength(new Set(codes).size)
})
