/** `npm run structure` finds what breaks the structure of src/, and nothing else. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'

const SCRIPT = path.resolve(import.meta.dirname, '../../scripts/structure.mjs')

/** A package in which nothing is wrong. */
const SOUND: Record<string, string> = {
  'errors.ts': 'export const fail = 1',
  'store/redis.ts': `import { fail } from '../errors.ts'; export const open = async () => [fail, await import('ioredis')]`,
  'http/koa.ts': `import type { Context } from 'koa'; export type Native = Context`,
  'extension.ts': `import type { Native } from './http/koa.ts'; export type Seam = Native`,
  'features/one/engine.ts': `import type { Seam } from '../../extension.ts'; export type OneEngine = Seam`,
  'features/one/index.ts': `import type { OneEngine } from './engine.ts'; export type One = OneEngine`,
  'features/two/index.ts': 'export const two = 2',
  'create-turnpike.ts': `import type { OneEngine } from './features/one/engine.ts'; import { two } from './features/two/index.ts'; export const create = (_: OneEngine) => two`,
  'express.ts': `export const turnpike = 1; export * from './index.ts'`,
  'koa.ts': 'export const turnpike = 1',
  'index.ts': `export type { One } from './features/one/index.ts'`,
}

function inspect(files: Record<string, string>): { code: number | null; output: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'turnpike-structure-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const exports = { '.': '', './express': '', './koa': '' }
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ exports }))
  for (const [file, code] of Object.entries({ ...SOUND, ...files })) {
    const target = path.join(folder, 'src', file)
    mkdirSync(path.dirname(target), { recursive: true })
    writeFileSync(target, code)
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, folder], {
    encoding: 'utf8',
  })
  return { code: status, output: `${stdout}${stderr}`.trim() }
}

it('accepts a package in which all imports point down', () => {
  expect(inspect({})).toEqual({
    code: 0,
    output: 'structure: 11 files are in order, 0 known faults are left',
  })
})

it.each<[string, Record<string, string>, string]>([
  [
    'a circle',
    {
      'http/a.ts': `import { b } from './b.ts'; export const a = b`,
      'http/b.ts': `export { a as b } from './c.ts'`,
      'http/c.ts': `export * from './a.ts'`,
    },
    'a circle: http/a.ts, http/b.ts, http/c.ts',
  ],
  [
    'a circle of types alone',
    {
      'http/a.ts': `import type { B } from './b.ts'; export type A = B`,
      'http/b.ts': `import type { A } from './a.ts'; export type B = A`,
    },
    'a circle: http/a.ts, http/b.ts',
  ],
  [
    'an import that points up',
    { 'errors.ts': `import type { Seam } from './extension.ts'; export type Up = Seam` },
    'errors.ts imports extension.ts: ground is below seam.',
  ],
  [
    'a feature that imports what assembles it',
    { 'features/two/index.ts': `import type { create } from '../../create-turnpike.ts'` },
    'features/two/index.ts imports create-turnpike.ts: features/two is below assembly.',
  ],
  [
    'an import of an entry',
    { 'create-turnpike.ts': `export type { One } from './index.ts'` },
    'create-turnpike.ts imports index.ts: assembly is below entries.',
  ],
  [
    'http/ that knows the store',
    { 'http/a.ts': `import { open } from '../store/redis.ts'; export const a = open` },
    'http/a.ts imports store/redis.ts: http and store do not know each other.',
  ],
  [
    'a feature that knows another',
    {
      'features/two/index.ts': `import type { One } from '../one/index.ts'; export type Two = One`,
    },
    'features/two/index.ts imports features/one/index.ts: features/two and features/one do not know each other.',
  ],
  [
    'an engine that knows HTTP',
    { 'features/one/engine.ts': `import type { Native } from '../../http/koa.ts'` },
    'features/one/engine.ts imports http/koa.ts: engines and operations do not know HTTP. Hand in what it needs.',
  ],
  [
    'an operation that knows HTTP',
    {
      'features/two/take.ts': `import lua from './take.lua'; import type { Native } from '../../http/koa.ts'`,
    },
    'features/two/take.ts imports http/koa.ts: engines and operations do not know HTTP. Hand in what it needs.',
  ],
  [
    'a value of a feature that does not come from its index',
    {
      'features/two/a.ts': 'export const a = 1',
      'create-turnpike.ts': `export { a } from './features/two/a.ts'`,
    },
    'create-turnpike.ts imports features/two/a.ts: import values of features/two from its index.ts.',
  ],
  [
    'a package where it does not belong',
    { 'features/two/index.ts': `import { Redis } from 'ioredis'` },
    'features/two/index.ts imports ioredis: only /^store\\// may.',
  ],
  [
    'a framework that is loaded',
    { 'http/koa.ts': `import Koa from 'koa'; export type Native = Koa` },
    'http/koa.ts imports koa: only its types, the user brings it.',
  ],
  [
    'a package that is loaded later',
    { 'http/a.ts': `export const a = () => import('some-package/sub')` },
    'http/a.ts imports some-package: PACKAGES of scripts/structure.mjs does not list it.',
  ],
  [
    'a name that two files export',
    { 'http/a.ts': 'export interface One {}' },
    'features/one/index.ts, http/a.ts',
  ],
  [
    'a name that hides a global of Node',
    { 'http/a.ts': 'export const structuredClone = 1' },
    'http/a.ts exports structuredClone, which hides a global.',
  ],
  [
    'a type that hides a global type',
    { 'http/a.ts': 'export interface Record {}' },
    'http/a.ts exports Record, which hides a global.',
  ],
  [
    'a type that hides a global of browsers',
    { 'http/a.ts': 'export type Lock = 1' },
    'http/a.ts exports Lock, which hides a global.',
  ],
  [
    'a second name for one thing',
    { 'index.ts': `export { two as deux } from './features/two/index.ts'` },
    'index.ts exports two as deux: one name for one thing.',
  ],
  [
    'a file that belongs to no layer',
    { 'helpers.ts': 'export const help = 1' },
    'helpers.ts: no layer has this file. Add it to LAYERS in scripts/structure.mjs.',
  ],
  [
    'an import of a file that is not there',
    { 'http/a.ts': `import './b.ts'` },
    'http/a.ts imports http/b.ts: there is no such file.',
  ],
])('refuses %s', (_name, files, complaint) => {
  const { code, output } = inspect(files)
  expect(output).toContain(complaint)
  expect(code).toBe(1)
})
