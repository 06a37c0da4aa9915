/** What the applications share: a Redis, an instance, the frameworks in their versions. */
import { createServer } from 'node:http'
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
