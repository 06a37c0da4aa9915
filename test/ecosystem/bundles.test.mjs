/** Applications that a bundler has put into one file: they reach Redis, as those that are not bundled. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import request from 'supertest'
import { startRedis } from 'turnpike/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import webpack from 'webpack'
import { cookiesOf, copyPrograms, runProgram, SECRET, statuses } from './support.mjs'

/** Below this folder, so that the packages are found. */
const folder = path.join(import.meta.dirname, '.cache')
let redis

beforeAll(async () => {
  redis = await startRedis()
  mkdirSync(folder, { recursive: true })
})
afterAll(() => redis.stop())

/** What Redis counts under a prefix. */
const keysOf = (prefix) => redis.send('KEYS', `${prefix}:*`)

describe('webpack', () => {
  const main = `
    async function main() {
      const tp = turnpike({ redis: process.env.REDIS_URL, prefix: 'webpack' })
      const app = express()
      app.use(tp.rateLimit({ limit: 2, window: '1m' }))
      app.get('/', (req, res) => res.send(req.rateLimit.source))
      await tp.ready()
      const server = app.listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const seen = []
      for (let i = 0; i < 3; i++) {
        const response = await fetch('http://127.0.0.1:' + server.address().port)
        seen.push([response.status, response.ok ? await response.text() : ''])
      }
      console.log(JSON.stringify(seen))
      process.exit()
    }
    main()`
  const kinds = [
    {
      extension: 'mjs',
      head: `import express from 'express'; import { turnpike } from 'turnpike/express'`,
      options: { experiments: { outputModule: true } },
      output: { module: true, chunkFormat: 'module' },
    },
    {
      extension: 'cjs',
      head: `const express = require('express'); const { turnpike } = require('turnpike/express')`,
      options: {},
      output: {},
    },
  ]

  it.each(kinds)(
    'an Express application in one file counts in Redis ($extension)',
    async ({ extension, head, options, output }) => {
      const entry = path.join(folder, `app.${extension}`)
      writeFileSync(entry, `${head}\n${main}`)
      const bundle = { ...output, path: path.join(folder, extension), filename: `app.${extension}` }
      const stats = await new Promise((resolve, reject) => {
        webpack(
          {
            mode: 'production',
            target: 'node20',
            // The configuration of turnpike's own tests leads to its sources.
            resolve: { tsconfig: false },
            entry,
            output: bundle,
            ...options,
          },
          (error, made) => (error ? reject(error) : resolve(made)),
        )
      })
      expect(stats.toJson().errors).toEqual([])
      await redis.send('FLUSHALL')
      const { stdout, stderr } = spawnSync(
        process.execPath,
        [path.join(bundle.path, bundle.filename)],
        {
          encoding: 'utf8',
          env: { ...process.env, REDIS_URL: redis.url, NODE_ENV: 'production' },
        },
      )
      expect(stderr).not.toMatch(/TurnpikeWarning|Error/)
      expect(JSON.parse(stdout)).toEqual([
        [200, 'store'],
        [200, 'store'],
        [429, ''],
      ])
      expect(await keysOf('webpack')).toContain('webpack:')
    },
    120_000,
  )
})

describe('Next', () => {
  const project = path.join(folder, 'next')
  let client
  let server

  beforeAll(async () => {
    rmSync(project, { recursive: true, force: true })
    cpSync(path.join(import.meta.dirname, 'next'), project, { recursive: true })
    copyPrograms('next', folder, project)
    const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', REDIS_URL: redis.url, SECRET }
    delete env.NODE_ENV
    const next = path.join(import.meta.dirname, 'node_modules/next/dist/bin/next')
    const built = spawnSync(process.execPath, [next, 'build', project], { encoding: 'utf8', env })
    if (built.status !== 0) throw new Error(`${built.stdout}\n${built.stderr}`)
    server = spawn(process.execPath, [path.join(project, 'server.mjs')], {
      env: { ...env, NODE_ENV: 'production' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const port = await new Promise((resolve, reject) => {
      server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
      server.stdout.on('data', (text) => {
        const [, found] = /port (\d+)/.exec(String(text)) ?? []
        if (found) resolve(found)
      })
    })
    client = request(`http://127.0.0.1:${port}`)
  }, 300_000)
  afterAll(() => server?.kill())

  it('a custom server has sessions and limits in front of the pages', async () => {
    const first = await client.get('/visit').expect(200, '1')
    await client.get('/visit').set('Cookie', cookiesOf(first)).expect(200, '2')
    for (let i = 0; i < 5; i++) {
      const page = await client.get('/').expect(200)
      expect(page.text).toContain('A page of Next')
    }
    await client.get('/').expect(429)
  })

  it('a route handler that webpack has bundled counts in Redis', async () => {
    const get = (user) => client.get('/limited').set('x-user', user)
    await get('ann').expect(200, { remaining: 1, source: 'store' })
    await get('ann').expect(200, { remaining: 0, source: 'store' })
    await get('ann').expect(429, { remaining: 0, source: 'store' })
    await get('bob').expect(200, { remaining: 1, source: 'store' })
    expect(await keysOf('next')).toContain('next:')
  })

  it("the guide's server has limits in front of the pages, and its route counts", async () => {
    const program = path.join(project, 'start.mjs')
    const { client, stop } = await runProgram(redis, program, { NODE_ENV: 'production' })
    const page = await client.get('/').expect(200)
    expect(page.text).toContain('A page of Next')
    expect(page.headers['ratelimit-policy']).toContain('q=300')
    const greet = () => client.get('/api/hello').set('x-user', 'ann')
    expect(await statuses(3, greet)).toEqual([200, 200, 429])
    expect(await stop()).toBe(0)
  })
})
