/** Progress of tasks, on every framework and both engines. */
import express from 'express'
import request from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike } from '../../../src/node.ts'
import {
  channels,
  progress,
  sse,
  type Channels,
  type ProgressRouterOptions,
  type ProgressState,
} from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps, type App, type AppKind } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { openEvents, type EventClient } from './event-source.ts'

function tracker(options: TurnpikeOptions<any> = { store: testStore() }) {
  const tp = turnpike({ requestBudget: '10s', ...options })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  return { live, tasks: progress(live), tp }
}

interface Running extends App {
  live: Channels
  tasks: ReturnType<typeof progress<any, any>>
  stream: ReturnType<typeof sse<any, any>>
}

function start(
  kind: AppKind,
  options: TurnpikeOptions<any> = { store: testStore() },
  authorize: ProgressRouterOptions<any>['authorize'] = () => true,
): Running {
  let parts!: Pick<Running, 'live' | 'tasks' | 'stream'>
  const app = kind.start({
    options,
    mount(tp) {
      const live = channels(tp)
      const user = ({ headers }: any): string => headers['x-user']
      parts = { live, tasks: progress(live), stream: sse(live, { topics: () => 'a', user }) }
      const identify = (native: any, second: any, third: any): unknown => {
        const id = native.headers['x-user']
        if (id !== undefined) (native.state ?? native).user = { id }
        return (third ?? second)()
      }
      return [identify, parts.tasks.router({ authorize })]
    },
  })
  onTestFinished(() => app.tp.close())
  return Object.assign(app, parts)
}

const shown = (client: EventClient): unknown[] =>
  client.events.map(({ data, event }) => [event, JSON.parse(data)?.percent])

describe.each(bothEngines())('progress, $name', ({ open }) => {
  it('follows steps, costs and time, and ends', async () => {
    const { advance, prefix, store } = open()
    const { tasks } = tracker({ prefix, store })
    const task = tasks.of('workflow_123', { total: 4 })
    expect(await task.get()).toBeUndefined()
    const began = store.now()
    expect(await task.start()).toEqual({
      status: 'running',
      percent: 0,
      steps: 0,
      total: 4,
      step: null,
      cost: 0,
      etaMs: null,
      reason: null,
      startedAt: began,
      updatedAt: began,
      finishedAt: null,
    })
    await advance('10s')
    expect(await task.step('content', { cost: 0.1 })).toMatchObject({
      percent: 25,
      steps: 1,
      step: 'content',
      cost: 0.1,
      etaMs: 30_000,
    })
    await advance('10s')
    // Another process knows the number of steps from the first.
    const elsewhere = tasks.of('workflow_123')
    expect(await elsewhere.step('images', { cost: 0.2 })).toMatchObject({
      percent: 50,
      total: 4,
      cost: 0.3,
      etaMs: 20_000,
    })
    expect(await elsewhere.done({ cost: 0.0000014 })).toMatchObject({
      status: 'done',
      percent: 100,
      steps: 4,
      step: 'images',
      cost: 0.300001,
      etaMs: null,
      finishedAt: began + 20_000,
    })
    expect(await task.get()).toEqual(await elsewhere.get())
  })

  it('is set by hand, and fails where it is', async () => {
    const { advance, prefix, store } = open()
    const task = tracker({ prefix, store }).tasks.of('import')
    await task.start({ step: 'reading' })
    await advance('1s')
    expect(await task.set(33.333)).toMatchObject({ percent: 33.33, etaMs: 2000, step: 'reading' })
    expect(await task.step()).toMatchObject({ percent: 33.33, steps: 1, total: null })
    expect(await task.set(100, { step: 'writing' })).toMatchObject({ percent: 100, etaMs: 0 })
    const reason = 'line 7: "a/b" \u2028 \ud800'
    expect(await task.fail(reason)).toMatchObject({
      status: 'failed',
      percent: 100,
      step: 'writing',
      reason,
    })
  })

  it('changes nothing after the end, until it starts again', async () => {
    const { prefix, store } = open()
    const { tasks, live } = tracker({ prefix, store })
    const task = tasks.of('t', { total: 2 })
    const changes = live.subscribe<ProgressState>(task.topic)
    await changes.ready
    await task.step('first')
    const ended = await task.fail('no disk')
    for (const late of [task.step('second'), task.set(90), task.done(), task.fail('other')])
      expect(await late).toEqual(ended)
    expect(await task.start()).toMatchObject({
      status: 'running',
      steps: 0,
      step: null,
      reason: null,
      finishedAt: null,
    })
    expect(await task.step('again')).toMatchObject({ percent: 50 })
    const published: unknown[] = []
    for await (const { data } of changes) {
      published.push([data!.status, data!.percent])
      if (data!.step === 'again') break
    }
    expect(published).toEqual([
      ['running', 50],
      ['failed', 50],
      ['running', 0],
      ['running', 50],
    ])
  })

  it('never shows more than all steps, and each of 20 processes is counted', async () => {
    const { prefix, store } = open()
    const task = tracker({ prefix, store }).tasks.of('t', { total: 20 })
    const states = await Promise.all(Array.from({ length: 20 }, () => task.step()))
    expect(states.map(({ steps }) => steps).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    expect(await task.step('one too many')).toMatchObject({ steps: 20, percent: 100 })
    expect(await task.get()).toMatchObject({ status: 'running' })
  })

  it.each(apps)('$name: the router shows a state, and nothing to strangers', async (kind) => {
    const { prefix, store } = open()
    const asked: string[] = []
    const app = start(kind, { prefix, store }, ({ headers }: any, id: string) => {
      asked.push(id)
      return headers['x-user'] === 'ann'
    })
    await app.tasks.of('a/b ü', { total: 2 }).step('one')
    const path = `/progress/${encodeURIComponent('a/b ü')}`
    const found = await app.get(path, { 'x-user': 'ann' })
    expect(found.status).toBe(200)
    expect(found.headers['cache-control']).toBe('no-store')
    expect(found.body).toMatchObject({ percent: 50, step: 'one' })
    expect(asked).toEqual(['a/b ü'])
    for (const refused of [
      await app.get(path),
      await app.get(`${path}/stream`),
      await app.get('/progress/other', { 'x-user': 'ann' }),
      await app.get('/progress/other/stream', { 'x-user': 'ann' }),
      await app.get(`/progress/${'x'.repeat(201)}`, { 'x-user': 'ann' }),
    ]) {
      expect(refused.status).toBe(404)
      expect(refused.text).not.toContain('one')
    }
    const wrong = await app.post(path, { 'x-user': 'ann' })
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'GET, HEAD'])
    for (const other of ['/', '/progress', '/progress/a/b', '/progress/%ff', '/progressive/x'])
      expect((await app.get(other)).text).toBe('ok')
  })

  it.each(apps)('$name: the stream shows the state, each change and the end', async (kind) => {
    const { prefix, store } = open()
    const app = start(kind, { prefix, store })
    const task = app.tasks.of('t', { total: 2 })
    await task.start()
    const client = await openEvents(app.server, '/progress/t/stream')
    await until('the state', () => client.events.length === 1)
    // Changes come also while the stream joins its topic.
    await task.step('one')
    await task.step('two')
    await task.done()
    await until('the end', () => client.isOver)
    expect(shown(client)).toEqual([
      ['progress', 0],
      ['progress', 50],
      ['progress', 100],
      ['end', 100],
    ])
    expect(client.isComplete).toBe(true)
    const { lastEventId } = client
    const again = await openEvents(app.server, '/progress/t/stream', {
      'last-event-id': lastEventId,
    })
    expect(again.status).toBe(204)
    // A client that has not seen the end gets it.
    const missed = await openEvents(app.server, '/progress/t/stream', {
      'last-event-id': client.events[1]!.id,
    })
    await until('the end', () => missed.isOver)
    expect(shown(missed)).toEqual([['end', 100]])
    const late = await openEvents(app.server, '/progress/t/stream')
    await until('the end', () => late.isOver)
    expect(shown(late)).toEqual([['end', 100]])
  })

  it('shows the end once also after its history has expired', async () => {
    const { advance, prefix, store } = open()
    if (store.kind === 'redis') return // There the key of the history expires by Redis's clock.
    const app = start(apps[0]!, { prefix, store })
    await app.tasks.of('t').done()
    const seen = await openEvents(app.server, '/progress/t/stream')
    await until('the end', () => seen.isOver)
    await advance('2h')
    const again = await openEvents(app.server, '/progress/t/stream', {
      'last-event-id': seen.lastEventId,
    })
    expect(again.status).toBe(204)
    const late = await openEvents(app.server, '/progress/t/stream')
    await until('the end', () => late.isOver)
    expect(shown(late)).toEqual([['end', 100]])
    const told = await openEvents(app.server, '/progress/t/stream', {
      'last-event-id': late.lastEventId,
    })
    expect(told.status).toBe(204)
  })
})

describe.each(apps)('$name', (kind) => {
  it('two tenants with the same ID: nothing crosses', async () => {
    const tenant = ({ headers }: any): string => headers['x-tenant']
    const app = start(kind, { store: testStore(), tenant })
    expect(() => app.tasks.of('t')).toThrow(expect.objectContaining({ code: 'TP_KEY' }))
    await app.tasks.of('t', { tenant: 'a' }).set(10)
    expect((await app.get('/progress/t', { 'x-tenant': 'a' })).body.percent).toBe(10)
    expect((await app.get('/progress/t', { 'x-tenant': 'b' })).status).toBe(404)
  })

  it('replies 503 while Redis is away', async () => {
    const app = start(kind, { redis: 'redis://127.0.0.1:1', logger: false })
    const reply = await app.get('/progress/t')
    expect(reply.status).toBe(503)
    expect(reply.headers['retry-after']).toBe('2')
    await expect(app.tasks.of('t').step()).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  })

  it('its streams end with those of the user', async () => {
    const app = start(kind)
    await app.tasks.of('t').start()
    const [ann, bob] = [
      await openEvents(app.server, '/progress/t/stream', { 'x-user': 'ann' }),
      await openEvents(app.server, '/progress/t/stream', { 'x-user': 'bob' }),
    ]
    await app.stream.end('ann')
    await until('it has ended', () => ann.isOver)
    expect(ann.isComplete).toBe(true)
    expect(bob.isOver).toBe(false)
  })
})

it('is kept for 24 hours after its end', async () => {
  const store = testStore()
  const task = tracker({ store }).tasks.of('t')
  await task.done()
  await store.advance('23h')
  expect(await task.get()).toMatchObject({ status: 'done' })
  await store.advance('61m')
  expect(await task.get()).toBeUndefined()
})

it('is served below a mount path of Express', async () => {
  const tp = forExpress({ store: testStore(), requestBudget: '10s' })
  onTestFinished(() => tp.close())
  const tasks = progress(channels(tp))
  const app = express().use('/api/tasks', tasks.router({ authorize: () => true }))
  await tasks.of('t').set(10)
  expect((await request(app).get('/api/tasks/t')).body).toMatchObject({ percent: 10 })
  expect((await request(app).get('/api/tasks/u')).status).toBe(404)
})

describe('mistakes', () => {
  it.each([
    ['ttl', (live: Channels) => progress(live, { ttl: '31d' })],
    ['ttl', (live: Channels) => progress(live, { ttl: 0 })],
    ['total', (live: Channels) => progress(live).of('t', { total: 0 })],
    ['authorize', (live: Channels) => progress(live).router({} as never)],
    ['path', (live: Channels) => progress(live).router({ authorize: () => true, path: 'jobs/' })],
  ])('%s that cannot be used', (option, create) => {
    const { live } = tracker()
    expect(() => create(live)).toThrow(expect.objectContaining({ code: 'TP_OPTION', option }))
  })

  it('channels without a history, or none at all', () => {
    const { tp } = tracker()
    expect(() => progress(tp as never)).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
    const other = turnpike({ store: testStore() })
    onTestFinished(() => other.close())
    expect(() => progress(channels(other, { history: false }))).toThrow(/needs .* a history/)
  })

  it.each(['', 'x'.repeat(201), '\ud800', 7, undefined])('the ID %j', (id) => {
    const { tasks } = tracker()
    expect(() => tasks.of(id as string)).toThrow(expect.objectContaining({ code: 'TP_KEY' }))
  })

  it('values that are no percentage, cost, step or reason', async () => {
    const task = tracker().tasks.of('t')
    for (const percent of [-1, 100.1, Number.NaN, '50', null])
      await expect(task.set(percent as number)).rejects.toMatchObject({ code: 'TP_VALUE' })
    for (const cost of [-1, Number.NaN, Infinity, '1', 1_000_001])
      await expect(task.step('a', { cost: cost as number })).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
    await expect(task.step('x'.repeat(201))).rejects.toMatchObject({ code: 'TP_VALUE' })
    await expect(task.fail('x'.repeat(1001))).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect(await task.get()).toBeUndefined()
  })
})
