import { turnpike } from 'turnpike/express'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it } from 'vitest'
import { createShop } from './app.ts'

function open() {
  const store = testStore()
  const mails: string[] = []
  const mail = (to: string, text: string) => void mails.push(`${to}: ${text}`)
  const shop = createShop(turnpike({ store }), { databaseMs: 0, mail })
  const login = (password: string) =>
    request(shop).post('/login').send({ email: 'ada@example.com', password })
  const quota = (key: string) => request(shop).get('/api/quota').set('x-api-key', key)
  return { store, shop, mails, login, quota }
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

it('knows who is logged in, and where', async () => {
  const { shop, login } = open()
  const me = (cookie: string, path = '') => request(shop).get(`/me${path}`).set('cookie', cookie)
  const enter = async () => {
    const { headers } = await login('correct horse').expect(200)
    const [cookie = ''] = headers['set-cookie'] ?? []
    expect(cookie).toMatch(/^sid=.+; Path=\/; HttpOnly; SameSite=Lax$/)
    return cookie.split(';', 1)[0]!
  }
  const here = await enter()
  const there = await enter()
  expect((await login('guess').expect(401)).headers['set-cookie']).toBeUndefined()
  expect((await me(here).expect(200)).body).toEqual({ user: 'ada@example.com' })
  const anonymous = await me('').expect(401)
  expect(anonymous.type).toBe('application/problem+json')

  const { body } = await me(here, '/sessions').expect(200)
  expect(body).toHaveLength(2)
  expect(body.filter((each: { current: boolean }) => each.current)).toHaveLength(1)
  const leave = () => request(shop).delete('/me/sessions?except=current').set('cookie', here)
  expect((await leave().expect(200)).body).toEqual({ ended: 1 })
  await me(there).expect(401)
  await me(here).expect(200)
  await request(shop).post('/logout').set('cookie', here).expect(200)
  await me(here).expect(401)
})

it('treats no user as logged out while Redis is away', async () => {
  const { store, shop, login } = open()
  const { headers } = await login('correct horse')
  const cookie = headers['set-cookie']![0]!
  const get = (path: string) => request(shop).get(path).set('cookie', cookie)
  store.fail()
  expect((await get('/me').expect(503)).headers['retry-after']).toBe('2')
  await get('/products').expect(200)
  await request(shop).get('/me').expect(401)
  store.recover()
  await get('/me').expect(200)
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

it('makes an invoice by a job, once for one key, and tells how far it is', async () => {
  const { shop } = open()
  const order = () =>
    request(shop).post('/invoices').set('idempotency-key', 'i').send({ order: 7 }).expect(202)
  const [{ body, headers }, { body: again }] = [await order(), await order()]
  expect(again).toEqual(body)
  const { text } = await request(shop).get(`${headers['location']}/stream`).buffer(true)
  expect(text).toMatch(/event: end\ndata: .*"state":"completed"/)
  const { body: job } = await request(shop).get(headers['location']!).expect(200)
  expect(job).toMatchObject({ state: 'completed', result: { invoice: 'invoice-7.pdf' } })
  await request(shop).get('/invoices').expect(403)
  await request(shop).delete(headers['location']!).expect(404)
})

it('verifies an address by a code that is right once', async () => {
  const { store, shop, mails } = open()
  const post = (path: string, body: object) => request(shop).post(path).send(body)
  await post('/verify/send', { email: 'Ada@example.com' }).expect(202)
  const early = await post('/verify/send', { email: 'ada@example.com' }).expect(429)
  expect(early.headers['retry-after']).toBe('10')
  const [, code = ''] = /^ada@example\.com: Your code is (\d{6})$/.exec(mails[0] ?? '') ?? []
  const wrong = code === '000000' ? '000001' : '000000'
  await post('/verify', { email: 'ada@example.com', code: wrong }).expect(410)
  await post('/verify', { email: 'bob@example.com', code }).expect(410)
  const { body } = await post('/verify', { email: 'ada@example.com', code }).expect(200)
  expect(body).toEqual({ verified: 'ada@example.com' })
  await post('/verify', { email: 'ada@example.com', code }).expect(410)
  await post('/verify', {}).expect(400)
  await store.advance('10s')
  await post('/verify/send', { email: 'ada@example.com' }).expect(202)
  expect(mails).toHaveLength(2)
})

it('rebuilds the inventory once at a time', async () => {
  const shop = createShop(turnpike({ store: testStore() }), { databaseMs: 50 })
  const rebuild = async () => (await request(shop).post('/inventory/rebuild')).status
  expect((await Promise.all([rebuild(), rebuild(), rebuild()])).toSorted()).toEqual([200, 423, 423])
  expect(await rebuild()).toBe(200)
})

it('shows what others look for, if it was found', async () => {
  const { shop } = open()
  const search = (q: string) => request(shop).get('/api/search').query({ q }).expect(200)
  for (const q of ['Compass', 'compass', 'easel', '', 'sextant']) await search(q)
  const { body } = await request(shop).get('/api/trending').expect(200)
  expect(body).toEqual(['compass', 'easel'])
})
