/** `turnpike/collections` is an entry of its own: who does not import it does not load it. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import * as collections from '../../../src/collections.ts'

const SOURCE = path.resolve(import.meta.dirname, '../../../src')

/** The files that a file loads, itself included. Imports of types load nothing. */
function loadedBy(file: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  if (!file.endsWith('.ts')) return seen
  const code = readFileSync(file, 'utf8')
  for (const [, clause, target] of code.matchAll(
    /^(?:import|export)\s([^'"]*?from\s)?'(\.[^']+)'/gm,
  ))
    if (!clause?.startsWith('type ')) loadedBy(path.resolve(path.dirname(file), target!), seen)
  return seen
}

const isOfCollections = (file: string): boolean =>
  file.includes(`${path.sep}extensions${path.sep}collections`)

test.each(['index', 'express', 'koa', 'node', 'testing', 'extension'])(
  'turnpike/%s loads nothing of it',
  (entry) => {
    const loaded = [...loadedBy(path.join(SOURCE, `${entry}.ts`))]
    expect(loaded.length).toBeGreaterThan(entry === 'index' ? 3 : 5)
    expect(loaded.filter(isOfCollections)).toEqual([])
  },
)

test('turnpike/collections loads its own files, and no feature', () => {
  const loaded = [...loadedBy(path.join(SOURCE, 'collections.ts'))]
  expect(loaded.filter(isOfCollections).length).toBeGreaterThan(20)
  expect(loaded.filter((file) => file.includes(`${path.sep}features${path.sep}`))).toEqual([])
})

test('it exports six functions', () => {
  expect(Object.keys(collections).toSorted()).toEqual([
    'counters',
    'leaderboard',
    'list',
    'recent',
    'suggestions',
    'trending',
  ])
})
