/** Each extension is an entry of its own: an application that does not import it does not load it. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import * as collections from '../../src/collections.ts'
import * as flags from '../../src/flags.ts'
import * as jobs from '../../src/jobs.ts'
import * as realtime from '../../src/realtime.ts'
import * as tokens from '../../src/tokens.ts'

const SOURCE = path.resolve(import.meta.dirname, '../../src')
const BUILT_IN = ['index', 'express', 'koa', 'node', 'testing', 'extension']

/** Each extension's module, what it exports, and a number of files that it exceeds. */
const EXTENSIONS: Record<string, { module: object; exports: string[]; files: number }> = {
  collections: {
    module: collections,
    exports: ['counters', 'leaderboard', 'list', 'recent', 'suggestions', 'trending'],
    files: 20,
  },
  flags: {
    module: flags,
    exports: ['config', 'flags', 'maintenance', 'openFeatureProvider'],
    files: 7,
  },
  jobs: { module: jobs, exports: ['jobs'], files: 15 },
  realtime: {
    module: realtime,
    exports: ['channels', 'inbox', 'presence', 'progress', 'sse', 'subscriptions'],
    files: 30,
  },
  tokens: {
    module: tokens,
    exports: ['apiKeys', 'oneTimeTokens', 'refreshTokens'],
    files: 20,
  },
}

/** Returns the files that a file loads, itself included. Imports of types load nothing. */
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

const loadedByEntry = (entry: string): string[] => [...loadedBy(path.join(SOURCE, `${entry}.ts`))]
const isIn = (folder: string, file: string): boolean =>
  file.startsWith(path.join(SOURCE, folder) + path.sep)

describe.each(Object.entries(EXTENSIONS))('turnpike/%s', (name, { module, exports, files }) => {
  const own = path.join('extensions', name)
  const others = Object.keys(EXTENSIONS).filter((other) => other !== name)

  test.each([...BUILT_IN, ...others])('is not loaded by turnpike/%s', (entry) => {
    const loaded = loadedByEntry(entry)
    expect(loaded.length).toBeGreaterThan(entry === 'index' ? 3 : 5)
    expect(loaded.filter((file) => isIn(own, file))).toEqual([])
  })

  test('loads its own files, and no feature', () => {
    const loaded = loadedByEntry(name)
    expect(loaded.filter((file) => isIn(own, file)).length).toBeGreaterThan(files)
    expect(loaded.filter((file) => isIn('features', file))).toEqual([])
  })

  test(`exports ${exports.join(', ')}`, () => {
    expect(Object.keys(module).toSorted()).toEqual(exports)
  })
})

test('documents are loaded by the extensions that use them only', () => {
  for (const entry of BUILT_IN)
    expect(loadedByEntry(entry).filter((file) => isIn('documents', file))).toEqual([])
  expect(loadedByEntry('flags').some((file) => isIn('documents', file))).toBe(true)
})
