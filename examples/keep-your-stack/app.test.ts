import { Redis } from 'ioredis'
import request from 'supertest'
import { startRedis, type RedisServer } from 'turnpike/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createApp } from './app.ts'

let server: RedisServer
let redis: Redis
let stack: ReturnType<typeof createApp>

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.port, { maxRetriesPerRequest: 1 })
  redis.on('error', () => {})
  stack = createApp(redis)
  await stack.tp.ready()
})

afterAll(async () => {
  await stack.tp.close()
  redis.disconnect()
  await server.stop()
})

it('old and new routes share the budget of the limiter that was there', async () => {
  const { app } = stack
  await request(app).get('/old').expect(200)
  const passed = await request(app).get('/new').expect(200)
  expect(passed.body).toEqual({ ok: true, remaining: 1 })
  expect(passed.headers['ratelimit-policy']).toBe('"api";q=3;w=60')
  expect(passed.headers['ratelimit']).toMatch(/^"api";r=1;t=(60|59)$/)
  await request(app).get('/old').expect(200)

  const refused = await request(app).get('/new').expect(429)
  expect(refused.headers['content-type']).toBe('application/problem+json')
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(50)
  await request(app).get('/old').expect(429)
  expect(await redis.keys('*')).toHaveLength(1)
})

it.each(['8', '9', 'turnpike'])('counts visits in a session of store %s', async (name) => {
  const agent = request.agent(stack.app)
  for (const visits of [1, 2, 3]) {
    const { body } = await agent.get(`/sessions/${name}`).expect(200)
    expect(body).toEqual({ visits })
  }
})

it('answers without Redis', async () => {
  await server.kill()
  await request(stack.app).get('/new').expect(200)
})
