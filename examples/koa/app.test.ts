import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it } from 'vitest'
import { createApp } from './app.ts'

function start() {
  const store = testStore()
  const { app } = createApp({ store })
  const handle = app.callback()
  const get = (path: string, user = '') => request(handle).get(path).set('x-user', user)
  const login = (password: string) =>
    request(handle).post('/login').query({ user: 'ada', password })
  return { store, get, login }
}

it('gives users more than guests', async () => {
  const { store, get } = start()
  expect((await get('/').expect(200)).body).toEqual({ hello: 'guest', remaining: 1 })
  await get('/').expect(200)
  const refused = await get('/').expect(429)
  expect(refused.headers).toMatchObject({
    'content-type': 'application/problem+json',
    ratelimit: '"site";r=0;t=60',
    'retry-after': '60',
  })

  expect((await get('/', 'ada').expect(200)).body).toEqual({ hello: 'ada', remaining: 4 })
  await store.advance('61s')
  await get('/').expect(200)
})

it('shuts out who guesses, and forgets it after a success', async () => {
  const { store, login } = start()
  await login('guess').expect(401)
  await login('guess').expect(429)
  await store.advance('16m')
  await login('open sesame').expect(204)
  await login('guess').expect(401)
})

it('says how it is, and serves without Redis', async () => {
  const { store, get } = start()
  expect((await get('/health').expect(200)).body).toMatchObject({ status: 'healthy' })
  store.fail()
  expect((await get('/health').expect(200)).body).toMatchObject({ status: 'degraded' })
  await get('/').expect(200)
})
