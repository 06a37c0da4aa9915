/** What the applications share: a Redis, an instance, the frameworks in their versions. */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import path from 'node:path'
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import Koa2 from 'koa2'
import request from 'supertest'
import { startRedis } from 'turnpike/testing'
import { afterAll, beforeAll, onTestFinished } from 'vitest'

export const SECRET = 'a secret that is long enough'

/** Express in its versions, by name. */
export const expresses = [
  ['Express 4', express4],
  ['Express 5', express],
]

/** Koa in its versions, by name. */
export const koas = [
  ['Koa 2', Koa2],
  ['Koa 3', Koa],
]

/** A Redis for one file. Its `url` is there when the tests run. */
export function useRedis() {
  const redis = { url: undefined }
  let server
  beforeAll(async () => {
    server = await startRedis()
    redis.url = server.url
  })
  afterAll(() => server?.stop())
  return redis
}

let count = 0

/** An instance over this Redis, with a prefix of its own. It is closed after the test. */
export async function open(turnpike, redis, options = {}) {
  // A loaded machine is slow: timeouts are not what is tested here.
  const patience = { commandTimeout: '5s', requestBudget: '10s' }
  const tp = turnpike({ redis: redis.url, prefix: `app${count++}`, ...patience, ...options })
  onTestFinished(() => tp.close())
  await tp.ready()
  return tp
}

/** Serves a listener on a free port until the test is over. Returns its origin. */
export async function serve(listener, onServer = () => {}) {
  const server = createServer(listener)
  onServer(server)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${server.address().port}`
}

/**
 * A client of supertest for one server of the application. `request(app)` would listen on another port
 * for each request, and the port is part of a cached URL.
 */
export const clientOf = async (app) => request(await serve(app))

/** The cookies that a response of supertest sets, as a client would send them. */
export const cookiesOf = ({ headers }) =>
  (headers['set-cookie'] ?? []).map((cookie) => cookie.split(';')[0]).join('; ')

/** Returns the statuses of requests that are sent one after the other. */
export const statuses = async (count, send) => {
  const seen = []
  for (let i = 0; i < count; i++) seen.push((await send()).status)
  return seen
}

/** Writes the programs of a guide below a folder. The first line of each is its name. Returns their folder. */
export function copyPrograms(guide, folder, project = path.join(folder, guide)) {
  const text = readFileSync(path.join(import.meta.dirname, `../../docs/guides/${guide}.md`), 'utf8')
  for (const [, , code] of text.matchAll(/^```(js|ts) no-check\n([\s\S]*?)^```$/gm)) {
    const [, name] = /^\/\/ (\S+)\n/.exec(code)
    mkdirSync(path.dirname(path.join(project, name)), { recursive: true })
    writeFileSync(path.join(project, name), code)
  }
  return project
}

function freePort() {
  return new Promise((resolve) => {
    const server = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** Runs a program that listens. Resolves with a client of it, once it answers. */
export async function runProgram(redis, program, env = {}) {
  const port = await freePort()
  const { NODE_ENV: _, ...own } = process.env
  const child = spawn(process.execPath, [program], {
    cwd: path.dirname(program),
    env: { ...own, REDIS_URL: redis.url, SECRET, PORT: String(port), ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr.on('data', (text) => (errors += text))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  onTestFinished(() => child.kill('SIGKILL'))
  const origin = `http://127.0.0.1:${port}`
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the program has ended: ${errors}`)
    const answers = await fetch(origin).then(
      () => true,
      () => false,
    )
    if (answers) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    origin,
    client: request(origin),
    /** Ends the program as a deploy does, and resolves with its exit code. */
    async stop() {
      child.kill('SIGTERM')
      return ended
    },
  }
}
