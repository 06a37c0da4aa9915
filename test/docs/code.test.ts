/** All code of the documentation is type-checked and run. blocks.ts documents how blocks are marked. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { format } from 'node:util'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { startRedis } from '../../src/testing.ts'
import {
  clear,
  documents,
  isRun,
  modulesOf,
  printed,
  ROOT,
  sourceOf,
  textOf,
  write,
} from './blocks.ts'
import { freePorts } from './servers.ts'

/** A folder for this process. The suite may run twice at once. */
const FOLDER = `code-${process.pid}`
const modules = documents().flatMap((document) => modulesOf(document))
const redis = await startRedis()
vi.stubEnv('REDIS_URL', redis.url)
const ports = freePorts()
afterAll(async () => {
  clear(FOLDER)
  ports.restore()
  vi.unstubAllEnvs()
  await redis.stop()
})

const PATIENT = "commandTimeout: '10s', requestBudget: '10s'"

const checked = modules.flatMap((module) => {
  if (module.language !== 'ts') return []
  const code = sourceOf(module, () => true)
  const path = write(`${FOLDER}/check`, module, code)
  return path === undefined ? [] : [{ document: module.document, path }]
})
const runnable = modules.flatMap((module) => {
  const source = sourceOf(module, isRun)
  const path = write(
    `${FOLDER}/run`,
    module,
    // A busy machine may answer later than commandTimeout. A program that needs no Redis runs without,
    // and others are patient unless they name a time themselves.
    source
      .replaceAll("process.env.REDIS_URL ?? 'memory'", "'memory'")
      .replaceAll("redis: 'redis://localhost:6379'", `redis: '${redis.url}', ${PATIENT}`)
      .replaceAll('redis://localhost:6379', redis.url),
  )
  return path === undefined ? [] : [{ ...module, path, expected: printed(source) }]
})

test('the documentation has code', () => {
  expect(checked.length).toBeGreaterThan(20)
  expect(runnable.length).toBeGreaterThan(20)
})

/** Documents that take the type of the session from turnpike. The types of express-session would win. */
const ownTypes = new Set(
  documents().filter((document) => {
    const text = textOf(document)
    const importsOwn = /^ *import 'turnpike\/(?:express|koa)\/session'/m.test(text)
    return importsOwn && !/from 'express-session'/.test(text)
  }),
)

test.each([
  ['of applications with the types of express-session', false],
  ['of applications with the types of turnpike', true],
])('every block %s compiles', { timeout: 90_000 }, (_, isOwn) => {
  const folder = join(ROOT, '.cache/docs', FOLDER)
  const files = checked.filter(({ document }) => ownTypes.has(document) === isOwn)
  expect(files.length).toBeGreaterThan(1)
  const config = {
    extends: '../../../tsconfig.test.json',
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
      paths: { turnpike: ['../../../src/index.ts'], 'turnpike/*': ['../../../src/*.ts'] },
    },
    files: [...files.map(({ path }) => relative(folder, path)), '../../../src/lua.d.ts'],
    include: [],
  }
  const file = join(folder, `tsconfig.${isOwn}.json`)
  writeFileSync(file, JSON.stringify(config))
  const { stdout, stderr } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', file], {
    encoding: 'utf8',
    cwd: folder,
  })
  expect(`${stdout}${stderr}`.trim()).toBe('')
})

describe.each(documents())('%s', async (document) => {
  const own = runnable.filter((module) => module.document === document)
  for (const { name, path, isTest, expected } of own) {
    if (isTest) {
      await import(path)
      continue
    }
    test(`${name} runs${expected.length > 0 ? ', and prints what its comments show' : ''}`, async () => {
      await redis.send('FLUSHALL')
      const lines: string[] = []
      const log = vi
        .spyOn(console, 'log')
        .mockImplementation((...args) => void lines.push(format(...args)))
      try {
        await import(path)
      } finally {
        log.mockRestore()
      }
      if (expected.length > 0) expect(lines).toEqual(expected)
    })
  }
  if (own.length === 0) test('has no code that runs', () => {})
})
