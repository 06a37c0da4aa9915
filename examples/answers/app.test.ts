import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it, onTestFinished } from 'vitest'
import type { Part, Question } from './answers.ts'
import { createApp } from './app.ts'

const question = { model: 'm-1', messages: [{ role: 'user', content: 'Why tea?' }] }

function open() {
  const store = testStore()
  const asked: Question[] = []
  const embedded: string[] = []
  const model = { fails: false, gate: Promise.resolve() }
  async function* ask(question: Question): AsyncGenerator<Part> {
    asked.push(question)
    yield { text: 'Because ' }
    await model.gate
    if (model.fails) throw new Error('The model is overloaded')
    yield { text: 'of tea.' }
    yield { tokens: 12, microdollars: 36 }
  }
  async function embed(text: string) {
    embedded.push(text)
    return Float32Array.of(text.length, 1)
  }
  const { app, tp } = createApp({ store, ask, embed })
  onTestFinished(() => tp.close())
  const answer = (body: object = question) => request(app).post('/answers').send(body)
  const stream = () => answer().set('accept', 'text/event-stream')
  const saved = async () => (await request(app).get('/saved/m-1').expect(200)).body
  return { app, store, asked, embedded, model, answer, stream, saved }
}

const parts = 'event: part\ndata: "Because "\n\nevent: part\ndata: "of tea."\n\n'
const end = (cached: boolean) => `event: end\ndata: {"tokens":12,"cached":${cached}}\n\n`

it('asks a question once, and counts what that saves', async () => {
  const { asked, answer, saved } = open()
  const text = 'Because of tea.'
  expect((await answer().expect(200)).body).toEqual({ text, tokens: 12, cached: false })
  expect(await saved()).toEqual({ answers: 0, tokens: 0, dollars: 0 })
  for (let i = 0; i < 2; i++)
    expect((await answer().expect(200)).body).toEqual({ text, tokens: 12, cached: true })
  expect(asked).toHaveLength(1)
  expect(await saved()).toEqual({ answers: 2, tokens: 24, dollars: 0.000072 })
})

it('knows a question by what decides its answer', async () => {
  const { asked, answer } = open()
  const [message] = question.messages
  await answer()
  const same = [
    { messages: [{ content: message!.content, role: 'user' }], temperature: 0, model: 'm-1' },
    { ...question, user: 'ann', stream: true },
  ]
  for (const each of same) expect((await answer(each)).body.cached).toBe(true)
  const others = [
    { ...question, model: 'm-2' },
    { ...question, temperature: 0.5 },
    { ...question, messages: [message, message] },
    { ...question, messages: [{ ...message, role: 'system' }] },
  ]
  for (const each of others) expect((await answer(each)).body.cached).toBe(false)
  expect(asked).toHaveLength(5)
})

it('streams an answer as it comes, and again part by part', async () => {
  const { app, model, asked, stream } = open()
  let go!: () => void
  model.gate = new Promise((resolve) => (go = resolve))
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const res = await fetch(`http://127.0.0.1:${port}/answers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify(question),
  })
  let text = ''
  for await (const piece of res.body!) {
    text += Buffer.from(piece).toString()
    // The model is still at it.
    if (text.includes('Because')) go()
  }
  expect(text).toBe(parts + end(false))
  expect((await stream()).text).toBe(parts + end(true))
  expect(asked).toHaveLength(1)
})

it('asks once for all who ask at the same time', async () => {
  const { asked, answer, stream, saved } = open()
  const [a, b, c] = await Promise.all([answer(), answer(), stream()])
  expect([a.body.text, b.body.text]).toEqual(['Because of tea.', 'Because of tea.'])
  expect(c.text).toContain(parts)
  expect(asked).toHaveLength(1)
  expect((await saved()).answers).toBe(2)
})

it('keeps no answer that broke off', async () => {
  const { asked, model, answer, stream } = open()
  model.fails = true
  expect((await stream()).text).toBe(
    'event: part\ndata: "Because "\n\nevent: failed\ndata: "The model did not answer"\n\n',
  )
  await answer().expect(502)
  model.fails = false
  expect((await answer().expect(200)).body.cached).toBe(false)
  expect(asked).toHaveLength(3)
})

it('asks again after an hour', async () => {
  const { store, answer } = open()
  await answer()
  await store.advance('1h')
  expect((await answer()).body.cached).toBe(false)
})

it('answers while Redis is away', async () => {
  const { app, store, answer } = open()
  store.fail()
  expect((await answer().expect(200)).body.text).toBe('Because of tea.')
  await request(app).get('/saved/m-1').expect(503)
})

it.each([
  {},
  { messages: [] },
  { messages: 'why' },
  { messages: [null] },
  { ...question, model: '../m' },
  { ...question, temperature: 'hot' },
])('refuses what is no question: %j', async (body) => {
  const { asked, answer } = open()
  await answer(body).expect(400)
  expect(asked).toEqual([])
})

it('embeds each text once', async () => {
  const { app, embedded } = open()
  const compare = (...texts: unknown[]) => request(app).post('/similarity').send({ texts })
  expect((await compare('tea', 'tea').expect(200)).body).toEqual({ similarity: 1 })
  const { similarity } = (await compare('tea', 'coffee').expect(200)).body
  expect(similarity).toBeCloseTo(0.9878, 3)
  expect(embedded).toEqual(['tea', 'coffee'])
  await compare('tea').expect(400)
})
