/** `turnpike/realtime` is an entry of its own: who does not import it does not load it. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import * as realtime from '../../../src/realtime.ts'

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

const isOfRealtime = (file: string): boolean =>
  file.includes(`${path.sep}extensions${path.sep}realtime`)

test.each(['index', 'express', 'koa', 'node', 'testing', 'extension', 'tokens', 'collections'])(
  'turnpike/%s loads nothing of it',
  (entry) => {
    const loaded = [...loadedBy(path.join(SOURCE, `${entry}.ts`))]
    expect(loaded.length).toBeGreaterThan(entry === 'index' ? 3 : 5)
    expect(loaded.filter(isOfRealtime)).toEqual([])
  },
)

test('turnpike/realtime loads its own files, and no feature', () => {
  const loaded = [...loadedBy(path.join(SOURCE, 'realtime.ts'))]
  expect(loaded.filter(isOfRealtime).length).toBeGreaterThan(8)
  expect(loaded.filter((file) => file.includes(`${path.sep}features${path.sep}`))).toEqual([])
})

test('it exports functions, and nothing else', () => {
  expect(Object.keys(realtime).toSorted()).toEqual(['channels', 'sse'])
})
