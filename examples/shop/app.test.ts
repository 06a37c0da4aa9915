import { turnpike } from 'turnpike/express'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it } from 'vitest'
import { createShop } from './app.ts'

function open() {
  const store = testStore()
  const shop = createShop(turnpike({ store }), { databaseMs: 0 })
  const login = (password: string) =>
    request(shop).post('/login').send({ email: 'ada@example.com', password })
  const quota = (key: string) => request(shop).get('/api/quota').set('x-api-key', key)
  return { store, shop, login, quota }
}

it('shuts out who guesses a password, for a while', async () => {
  const { store, login } = open()
  for (let i = 0; i < 4; i++) await login('guess').expect(401)
  await login('correct horse').expect(200)
  for (let i = 0; i < 5; i++) await login('guess').expect(401)
  const refused = await login('correct horse').expect(429)
  expect(refused.headers['retry-after']).toBe('30')
  await store.advance('30s')
  await login('correct horse').expect(200)
})

it('lets the free plan ask ten times a minute', async () => {
  const { store, quota } = open()
  for (let i = 0; i < 10; i++) await quota('free').expect(200)
  await quota('free').expect(429)
  await quota('pro').expect(200)
  await store.advance('61s')
  const answer = await quota('free').expect(200)
  expect(answer.body).toEqual({ id: 'ada', plan: 'free', remaining: 9 })
})

it('lets the pro plan burst, then ask once a second', async () => {
  const { store, quota } = open()
  for (let i = 0; i < 20; i++) await quota('pro').expect(200)
  for (let i = 0; i < 60; i++) {
    const refused = await quota('pro').expect(429)
    expect(refused.headers['retry-after']).toBe('1')
    await store.advance('1s')
    await quota('pro').expect(200)
  }
})

it.each(['gold', '__proto__', ''])('knows no key %j', async (key) => {
  await open().quota(key).expect(401)
})

it('never takes what is missing for a password', async () => {
  const { shop } = open()
  await request(shop).post('/login').expect(401)
  await request(shop).post('/login').send({}).expect(401)
  await request(shop).post('/login').send({ email: 'nobody' }).expect(401)
})

it('answers without Redis, and says so', async () => {
  const { store, shop, quota } = open()
  store.fail()
  await quota('free').expect(200)
  const health = await request(shop).get('/health').expect(200)
  expect(health.body).toMatchObject({ status: 'degraded', connected: false })
  const page = await request(shop).get('/').expect(200)
  expect(page.text).toContain('Redis is away')
})

it('shows what is left without using it', async () => {
  const { shop, quota } = open()
  await quota('free')
  for (let i = 0; i < 3; i++) {
    const state = await request(shop).get('/state').expect(200)
    expect(state.text).toContain('9 of 10')
    expect(state.text).toContain('30 of 30')
  }
})

it('takes an order once, however often it is sent', async () => {
  const { shop } = open()
  const order = (key: string, item = 'Compass') =>
    request(shop).post('/orders').set('idempotency-key', key).send({ item })
  const first = await order('a').expect(201)
  const second = await order('a').expect(201)
  expect(second.text).toBe(first.text)
  expect(second.headers['idempotency-replayed']).toBe('true')
  await order('a', 'Easel').expect(422)
  expect((await order('b').expect(201)).body).toEqual({ item: 'Compass', charge: 'charge-2' })
  await request(shop).post('/orders').send({}).expect(400)
})

it('rebuilds the inventory once at a time', async () => {
  const shop = createShop(turnpike({ store: testStore() }), { databaseMs: 50 })
  const rebuild = async () => (await request(shop).post('/inventory/rebuild')).status
  expect((await Promise.all([rebuild(), rebuild(), rebuild()])).toSorted()).toEqual([200, 423, 423])
  expect(await rebuild()).toBe(200)
})
