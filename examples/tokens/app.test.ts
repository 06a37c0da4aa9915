import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it } from 'vitest'
import { createApp } from './app.ts'

function open() {
  const store = testStore()
  const mails: string[] = []
  const { app } = createApp({ store, mail: (_to, text) => void mails.push(text) })
  const post = (path: string, body: object) => request(app).post(path).send(body)
  const email = 'ann@example.org'
  /** Logs in, and returns the refresh token of the device. */
  async function login(): Promise<string> {
    await post('/login', { email }).expect(202)
    const { body } = await post('/login/code', { email, code: mails.at(-1) }).expect(200)
    return body.refresh
  }
  return { app, store, mails, post, email, login }
}

it('logs in by a code that is right once', async () => {
  const { mails, post, email, login } = open()
  await login()
  await post('/login/code', { email, code: mails[0] }).expect(410)
})

it('sends no second mail within a minute, and does not say so', async () => {
  const { store, mails, post, email } = open()
  for (let i = 0; i < 3; i++) await post('/login', { email }).expect(202)
  expect(mails).toHaveLength(1)
  await store.advance('1m')
  await post('/login', { email }).expect(202)
  expect(mails).toHaveLength(2)
})

it('ends a device whose refresh token is used again', async () => {
  const { store, post, login } = open()
  const first = await login()
  const { body } = await post('/refresh', { refresh: first }).expect(200)
  expect(body.user).toBe('ann@example.org')
  // Two tabs, or a lost answer.
  expect((await post('/refresh', { refresh: first }).expect(200)).body).toEqual(body)
  await store.advance('11s')
  const stolen = await post('/refresh', { refresh: first }).expect(401)
  expect(stolen.body).toEqual({ code: 'TP_TOKEN_REUSED' })
  await post('/refresh', { refresh: body.refresh }).expect(401)
})

it('treats no user as logged out while Redis is away', async () => {
  const { store, post, login } = open()
  const token = await login()
  store.fail()
  await post('/refresh', { refresh: token }).expect(503)
  store.recover()
  await post('/refresh', { refresh: token }).expect(200)
})

it('has keys for programs, with permissions, until they are revoked', async () => {
  const { app, post, login } = open()
  const { body } = await post('/keys', { refresh: await login() }).expect(201)
  const orders = (method: 'get' | 'post') =>
    request(app)[method]('/orders').set('authorization', `Bearer ${body.key}`)
  expect((await orders('get').expect(200)).body).toEqual({ user: 'ann@example.org' })
  await orders('post').expect(403)
  await request(app).delete('/keys').set('x-api-key', body.key).expect(204)
  await orders('get').expect(401)
  await request(app).get('/orders').expect(401)
})
