import express from 'express'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it, vi } from 'vitest'
import { createApp } from './app.ts'

// Here, Express 4 is installed under another name.
vi.mock('express', () => vi.importActual('express4'))

it('runs on Express 4', () => {
  // Only Express 4 has its router's old name.
  expect(express()).toHaveProperty('lazyrouter')
})

it('counts kilobytes by API key', async () => {
  const store = testStore()
  const { app } = createApp({ store })
  const put = (kilobytes: number, key = 'mine') =>
    request(app)
      .put('/files/a')
      .set('x-api-key', key)
      .send(Buffer.alloc(kilobytes * 1024))

  expect((await put(600).expect(201)).body).toEqual({ name: 'a', left: 400 })
  const refused = await put(500).expect(429)
  expect(refused.headers['ratelimit']).toBe('"uploads";r=400;t=3600')
  await put(400).expect(201)
  await put(600, 'theirs').expect(201)

  await store.advance('61m')
  await put(600).expect(201)
})

it('refuses a request without a key', async () => {
  const { app } = createApp({ store: testStore() })
  const answer = await request(app).put('/files/a').send('x').expect(400)
  expect(answer.body).toMatchObject({ code: 'TP_KEY' })
})
