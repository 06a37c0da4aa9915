/** A large stored response is read beside the small ones, by a command of its own. */
import express from 'express'
import request from 'supertest'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { startRedis, type RedisServer } from '../../../src/testing.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../../support/ttl.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => {
  await expectEveryKeyToExpire(server)
  await server.stop()
})

it('a response of 300 KB is replayed byte by byte, and does not pass through Lua', async () => {
  const proxy = await startFaultProxy(server.port)
  const tp = turnpike({ redis: proxy.url, commandTimeout: '2s', requestBudget: '2s' })
  onTestFinished(async () => {
    await tp.close()
    await proxy.close()
  })
  await tp.ready()
  const report = 'a line of a long report\n'.repeat(13_000)
  let runs = 0
  const app = express()
  app.post('/reports', tp.idempotency({ ttl: '1h' }), (_req, res) => {
    runs++
    res.status(201).type('text/plain').send(report)
  })
  const post = () => request(app).post('/reports').set('Idempotency-Key', 'k-12345678')
  const first = await post().expect(201)
  await post().expect(201)
  proxy.forget()
  const replayed = await post().expect(201)
  expect(replayed.text).toBe(report)
  expect(replayed.headers['etag']).toBe(first.headers['etag'])
  expect(runs).toBe(1)
  expect(proxy.traffic.commands).toEqual(['EVALSHA', 'HMGET'])
})
