import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import type { Express } from 'express'
import request from 'supertest'
import * as turnpike from 'turnpike/express'
import { testStore } from 'turnpike/testing'
import { expect, it, vi } from 'vitest'

type Twin = { createApp(options: { store: turnpike.Store }): { app: Express } }

/** The CommonJS twin; where it requires the package it gets the one under test. */
function requireTwin(): Twin {
  const file = path.join(import.meta.dirname, 'index.cjs')
  const real = createRequire(file)
  const require = (id: string): unknown => (id === 'turnpike/express' ? turnpike : real(id))
  const module = { exports: {} }
  // oxlint-disable-next-line typescript/no-implied-eval
  new Function('require', 'module', readFileSync(file, 'utf8'))(require, module)
  return module.exports as Twin
}

const twins: [string, () => Twin | Promise<Twin>][] = [
  ['index.mjs', () => vi.importActual<Twin>('./index.mjs')],
  ['index.cjs', requireTwin],
]

it.each(twins)('%s: three requests a minute', async (_file, load) => {
  const store = testStore()
  const { app } = (await load()).createApp({ store })

  for (const left of [2, 1, 0]) {
    const answer = await request(app).get('/').expect(200)
    expect(answer.text).toContain(`${left} more times`)
  }
  const refused = await request(app).get('/').expect(429)
  expect(refused.headers).toMatchObject({
    'retry-after': '60',
    'ratelimit-policy': '"1m";q=3;w=60',
  })

  await store.advance('61s')
  await request(app).get('/').expect(200)
})
