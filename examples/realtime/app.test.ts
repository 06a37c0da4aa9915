import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, onTestFinished, test } from 'vitest'
import { createApp } from './app.ts'

async function open() {
  const store = testStore()
  const { app, queue, tp, mails } = createApp({ store, stepMs: 1, prefix: 'realtime' })
  onTestFinished(() => tp.close())
  await queue.work()
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  async function login(name: string) {
    const agent = request.agent(server)
    const reply = await agent.post('/login').send({ name }).expect(204)
    const cookie = reply.headers['set-cookie']![0]!.split(';', 1)[0]!
    /** Reads a stream until what it has sent matches, or to its end. Acts once it has begun. */
    async function read(
      path: string,
      pattern: RegExp,
      { act, after }: { act?: () => Promise<unknown>; after?: string } = {},
    ): Promise<string> {
      const headers = { cookie, ...(after && { 'last-event-id': after }) }
      const controller = new AbortController()
      const signal = AbortSignal.any([controller.signal, AbortSignal.timeout(10_000)])
      const answer = await fetch(origin + path, { headers, signal })
      expect(answer.headers.get('content-type')).toBe('text/event-stream')
      let text = ''
      let acted: Promise<unknown> | undefined
      for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk
        if (text.includes('id: ')) acted ??= act?.()
        if (pattern.test(text)) break
      }
      controller.abort()
      await acted
      return text
    }
    return { agent, read }
  }
  return { server, login, mails, store }
}

test('the page shows nothing to guests but a form, and runs its own script only', async () => {
  const { server, login } = await open()
  const guest = await request(server).get('/').expect(200)
  expect(guest.headers['content-security-policy']).toMatch(
    /default-src 'none'.*script-src 'sha256-/,
  )
  expect(guest.text).not.toMatch(/(?:src|href)=/)
  expect(guest.text).toContain('id="login"')
  for (const path of ['/stream', '/inbox', '/inbox/stream', '/online'])
    await request(server).get(path).expect(401)
  const { agent } = await login('ann')
  const { text } = await agent.get('/').expect(200)
  expect(text).toContain('id="stats"')
  expect(text).toContain('id="badge"')
  expect(text).toContain('<progress id="bar"')
})

test('statistics arrive as they change, and a page that was away misses none', async () => {
  const { login } = await open()
  const { agent, read } = await login('ann')
  const view = async () => await agent.post('/campaigns/7/views').expect(200)
  const text = await read('/stream', /"views":1/, { act: view })
  const after = /.*\bid: (\S+)/s.exec(text)![1]!
  await agent.post('/campaigns/7/clicks').expect(200)
  expect(await read('/stream', /"clicks":1/, { after })).not.toMatch(/event: gap/)
  await agent.post('/campaigns/8/views').expect(404)
  await agent.post('/campaigns/7/constructor').expect(404)
})

test('notifications show in the badge of their user alone', async () => {
  const { login } = await open()
  const [ann, bob] = [await login('ann'), await login('bob')]
  const act = async () =>
    await ann.agent.post('/notes').send({ to: 'bob', title: 'Hi' }).expect(201)
  const text = await bob.read('/inbox/stream', /event: push/, { act })
  expect(text).toMatch(/event: unread\ndata: .*"messages":0[^]*"unread":1\}/)
  const { body } = await bob.agent.get('/inbox').expect(200)
  expect(body.messages[0].data).toEqual({ title: 'Hi', from: 'ann' })
  const read = await bob.agent.post('/inbox/read').send({ all: true }).expect(200)
  expect(read.body.unread.messages).toBe(0)
  expect((await ann.agent.get('/inbox').expect(200)).body.messages).toEqual([])
})

test('a report fills its bar to the end, for its user alone, and ends in a notification', async () => {
  const { login } = await open()
  const [ann, bob] = [await login('ann'), await login('bob')]
  const { headers } = await ann.agent.post('/reports').expect(202)
  const location = headers['location']!
  await expect.poll(async () => (await ann.agent.get(location)).status).toBe(200)
  await bob.agent.get(location).expect(404)
  const text = await ann.read(`${location}/stream`, /event: end\ndata: .*\n\n/)
  expect(text).toMatch(/"status":"done","percent":100/)
  const { body } = await ann.agent.get('/inbox').expect(200)
  expect(body.messages[0].data.title).toMatch(/^Report \w{4} is ready$/)
})

test('logging out ends the streams, and users leave when they are not seen', async () => {
  const { login, store } = await open()
  const [ann, bob] = [await login('ann'), await login('bob')]
  await ann.agent.get('/online')
  await bob.agent.get('/online')
  await expect.poll(async () => (await ann.agent.get('/online')).body.users).toEqual(['ann', 'bob'])
  const logout = async () => await ann.agent.post('/logout').expect(204)
  expect(await ann.read('/stream', /never/, { act: logout })).toMatch(/retry: /)
  await ann.agent.get('/stream').expect(401)
  await store.advance('61s')
  await bob.agent.get('/')
  await expect.poll(async () => (await bob.agent.get('/online')).body.users).toEqual(['bob'])
})
