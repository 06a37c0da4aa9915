import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it, onTestFinished } from 'vitest'
import { createApp } from './app.ts'

type Method = 'get' | 'put' | 'delete'

function open(store = testStore()) {
  const { app, tp } = createApp({ store })
  onTestFinished(() => tp.close())
  const handle = app.callback()
  const send = (method: Method, path: string, user = '', organisation = '') =>
    request(handle)[method](path).set({ 'x-user': user, 'x-organisation': organisation })
  const front = async (user = '', organisation = ''): Promise<string> =>
    (await send('get', '/', user, organisation).expect(200)).body.front
  const top = async (): Promise<string[]> => (await send('get', '/trending').expect(200)).body
  return { store, send, front, top }
}

it('shows what is read now: after an hour a read counts half', async () => {
  const { store, send, top } = open()
  const read = async (topic: string, times: number) => {
    for (let i = 0; i < times; i++) await send('get', `/topics/${topic}`).expect(200)
  }
  await read('coffee', 3)
  await read('gardens', 2)
  expect(await top()).toEqual(['coffee', 'gardens'])
  await store.advance('1h')
  // 1.5 of the former hour, and 2.
  await read('trains', 2)
  expect(await top()).toEqual(['trains', 'coffee', 'gardens'])
  await send('get', '/topics/made-up').expect(404)
  expect(await top()).toHaveLength(3)
})

it('shows an organisation the new front page, and a stable share of the others', async () => {
  const { send, front } = open()
  const readers = Array.from({ length: 200 }, (_, i) => `reader-${i}`)
  const withNew = async (): Promise<string[]> => {
    const fronts = await Promise.all(readers.map((reader) => front(reader)))
    return readers.filter((_, i) => fronts[i] === 'new')
  }
  expect([await front('ann'), await front('ann', 'acme')]).toEqual(['old', 'old'])
  await send('put', '/editor/front?organisation=acme&percentage=20', 'editor').expect(200)
  expect([await front('ann', 'acme'), await front()]).toEqual(['new', 'old'])
  const few = await withNew()
  expect(few.length).toBeGreaterThan(20)
  expect(few.length).toBeLessThan(60)
  expect(await withNew()).toEqual(few)
  await send('put', '/editor/front?percentage=60', 'editor').expect(200)
  const more = await withNew()
  expect(more.length).toBeGreaterThan(few.length)
  expect(more).toEqual(expect.arrayContaining(few))
  expect(await front('', 'acme')).toBe('old')
})

it('closes in all processes, but for editors and health checks', async () => {
  const one = open()
  const other = open(one.store)
  await one.send('put', '/editor/maintenance', 'reader').expect(403)
  await one.send('put', '/editor/maintenance', 'editor').expect(200)
  await expect.poll(async () => (await other.send('get', '/')).status).toBe(503)
  const refused = await one.send('get', '/').expect(503)
  expect(refused.headers).toMatchObject({
    'content-type': 'application/problem+json',
    'retry-after': '600',
  })
  expect(await other.front('editor')).toBe('old')
  await other.send('get', '/health/live').expect(200)
  await other.send('delete', '/editor/maintenance', 'editor').expect(200)
  await expect.poll(async () => (await one.send('get', '/')).status).toBe(200)
})

it('serves pages while Redis is away', async () => {
  const { store, send, front } = open()
  await send('put', '/editor/front?organisation=acme', 'editor').expect(200)
  store.fail()
  expect(await front('ann', 'acme')).toBe('new')
  await send('get', '/topics/coffee').expect(200)
  await send('put', '/editor/maintenance', 'editor').expect(503)
  expect(await front()).toBe('old')
})
