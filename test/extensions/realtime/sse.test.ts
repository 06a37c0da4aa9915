/** Server-sent events on every framework and both engines. */
import { once } from 'node:events'
import { constants, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import compression from 'compression'
import helmet from 'helmet'
import compress from 'koa-compress'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { topicDigest } from '../../../src/extensions/realtime/sse/positions.ts'
import { turnpike } from '../../../src/node.ts'
import {
  channels,
  inbox,
  progress,
  sse,
  type Channels,
  type ProgressTracker,
  type SseOptions,
  type StreamControl,
} from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps, type App, type AppKind } from '../../support/apps.ts'
import { http2Client } from '../../frameworks/http2-client.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { openEvents, type EventClient } from './event-source.ts'

const topicsOf = ({ headers }: any): string[] => (headers['x-topics'] ?? 'a').split(',')

interface Running extends App {
  live: Channels
  stream: ReturnType<typeof sse<any, any>>
}

function start(
  kind: AppKind,
  options: Partial<SseOptions<any>> = {},
  setup: {
    options?: TurnpikeOptions<any>
    around?: (tp: any) => any[]
    history?: false
  } = {},
): Running {
  let live!: Channels
  let stream!: any
  const app = kind.start({
    options: { store: testStore(), ...setup.options },
    mount(tp) {
      live = channels(tp, setup.history === false ? { history: false } : {})
      stream = sse(live, { topics: topicsOf, ...options })
      return [...(setup.around?.(tp) ?? []), stream]
    },
  })
  onTestFinished(() => app.tp.close())
  return Object.assign(app, { live, stream })
}

/** A stream that has joined its topics. */
async function joined(app: App, headers: Record<string, string> = {}, path = '/') {
  const client = await openEvents(app.server, path, headers)
  const digests = (headers['x-topics'] ?? 'a').split(',').map(topicDigest)
  await until('it has joined', () => digests.every((each) => client.text.includes(each)))
  return client
}

const messages = (client: EventClient): unknown[] =>
  client.events.map(({ event, data }) =>
    event === 'gap' ? `gap ${JSON.parse(data).topic}` : JSON.parse(data).data,
  )

describe.each(bothEngines())('sse, $name', ({ open }) => {
  it.each(apps)('$name: sends the messages of its topics, and nothing else', async (kind) => {
    const { store, prefix } = open()
    const app = start(kind, {}, { options: { store, prefix } })
    await app.live.publish('a', 'before')
    const client = await joined(app, { 'x-topics': 'a,b' })
    expect(client.status).toBe(200)
    expect(client.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(client.retry).toBe(2000)
    await app.live.publish('a', { n: 1 })
    await app.live.publish('c', 'of another topic')
    await app.live.publish('b', 'zwei\nlines \u2028')
    await until('both have arrived', () => client.events.length === 2)
    expect(client.data).toEqual([
      { topic: 'a', data: { n: 1 } },
      { topic: 'b', data: 'zwei\nlines \u2028' },
    ])
    expect(app.stream.size).toBe(1)
    client.close()
    await until('the stream is gone', () => app.stream.size === 0)
  })

  it.each(apps)('$name: continues in every topic where the client was', async (kind) => {
    const { store, prefix } = open()
    const app = start(kind, {}, { options: { store, prefix } })
    const first = await joined(app, { 'x-topics': 'a,b,c' })
    await app.live.publish('a', 1)
    await app.live.publish('b', 2)
    await until('both have arrived', () => first.events.length === 2)
    first.close()
    await until('the stream is gone', () => app.stream.size === 0)
    for (const [topic, data] of [
      ['a', 3],
      ['c', 4],
      ['b', 5],
      ['a', 6],
    ] as const)
      await app.live.publish(topic, data)
    const { lastEventId } = first
    const again = await openEvents(app.server, '/', {
      'x-topics': 'c,a,b',
      'last-event-id': lastEventId,
    })
    const byQuery = await openEvents(
      app.server,
      `/?lastEventId=${encodeURIComponent(lastEventId)}`,
      { 'x-topics': 'a,b,c' },
    )
    for (const client of [again, byQuery]) {
      await until('all have arrived', () => client.events.length === 4)
      expect(
        messages(client)
          .map(Number)
          .toSorted((x, y) => x - y),
      ).toEqual([3, 4, 5, 6])
      expect(messages(client).filter((each) => each === 3 || each === 6)).toEqual([3, 6])
    }
    // A topic that is new to the client begins now.
    const more = await joined(app, { 'x-topics': 'a,d', 'last-event-id': again.lastEventId })
    await app.live.publish('d', 7)
    await until('the new one has arrived', () => more.events.length === 1)
    expect(messages(more)).toEqual([7])
  })

  it('tells of a gap by an event of its own, and goes on', async () => {
    const { store, prefix } = open()
    const app = start(apps[0]!, {}, { options: { store, prefix } })
    const client = await openEvents(app.server, '/', {
      'last-event-id': `${'0'.repeat(10)}.1-1~ca978112ca.1000-1`,
    })
    await app.live.publish('a', 1)
    await until('both have arrived', () => client.events.length === 2)
    expect(messages(client)).toEqual(['gap a', 1])
  })

  it('at most so many streams of a user, in all processes; a crash frees them', async () => {
    const opened = open()
    const setup = { options: { store: opened.store, prefix: opened.prefix } }
    const options = { perUser: 2, user: ({ headers }: any) => headers['x-user'] }
    const [here, there] = [start(apps[0]!, options, setup), start(apps[2]!, options, setup)]
    const ann = { 'x-user': 'ann' }
    const first = await joined(here, ann)
    await joined(there, ann)
    const refused = await openEvents(here.server, '/', ann)
    expect(refused.status).toBe(429)
    expect(refused.headers['retry-after']).toBe('10')
    expect((await joined(here, { 'x-user': 'bob' })).status).toBe(200)
    expect((await joined(here)).status).toBe(200)
    first.close()
    await until('the place is free', async () => {
      const again = await openEvents(there.server, '/', ann)
      return again.status === 200
    })
    // Nothing renews the places of a process that crashed.
    await opened.advance('61s')
    expect((await openEvents(here.server, '/', ann)).status).toBe(200)
  })
})

describe.each(bothEngines())('the streams of a user, $name', ({ open }) => {
  it.each(apps)('$name: end in every process after a logout, and no others', async (kind) => {
    const opened = open()
    const setup = { options: { store: opened.store, prefix: opened.prefix } }
    const loggedOut = new Set<string>()
    const options: Partial<SseOptions<any>> = {
      user: ({ headers }) => headers['x-user'],
      authorize: ({ headers }) => !loggedOut.has(headers['x-user']),
    }
    const [here, there] = [start(kind, options, setup), start(kind, options, setup)]
    const enter = (app: App, user: string) => joined(app, { 'x-user': user })
    const ann = [await enter(here, 'ann'), await enter(there, 'ann')]
    const bob = [await enter(here, 'bob'), await enter(there, 'bob')]
    loggedOut.add('ann')
    await here.stream.end('ann')
    await until('they are over', () => ann.every(({ isOver }) => isOver), 1000)
    expect(ann.every(({ isComplete }) => isComplete)).toBe(true)
    const again = await openEvents(there.server, '/', { 'x-user': 'ann' })
    expect(again.status).toBe(403)
    await here.live.publish('a', 1)
    await until('the others go on', () => bob.every(({ events }) => events.length === 1))
    expect([here.stream.size, there.stream.size]).toEqual([1, 1])
  })
})

it('ending the streams of a user needs a user, and a tenant where there are some', async () => {
  const store = testStore()
  const tenant = ({ headers }: any): string => headers['x-tenant']
  const user = ({ headers }: any): string => headers['x-user']
  const app = start(apps[0]!, { user }, { options: { store, tenant } })
  const [a, b] = [
    await joined(app, { 'x-tenant': 'a', 'x-user': 'ann' }),
    await joined(app, { 'x-tenant': 'b', 'x-user': 'ann' }),
  ]
  await expect(app.stream.end('ann')).rejects.toMatchObject({ code: 'TP_KEY' })
  await expect(app.stream.end('', { tenant: 'a' })).rejects.toMatchObject({ code: 'TP_KEY' })
  store.fail()
  await expect(app.stream.end('ann', { tenant: 'a' })).rejects.toMatchObject({
    code: 'TP_UNAVAILABLE',
  })
  await until('that of this process is over', () => a.isOver)
  store.recover()
  expect(b.isOver).toBe(false)
})

describe.each(apps)('sse on $name', (kind) => {
  it('ends in order with the instance, with a hint when to come back', async () => {
    const app = start(kind)
    const clients = [await joined(app), await joined(app)]
    await app.tp.close()
    await until('they are over', () => clients.every(({ isOver }) => isOver))
    for (const { isComplete, retry } of clients) {
      expect(isComplete).toBe(true)
      expect(retry).toBeGreaterThanOrEqual(1000)
    }
    expect((await openEvents(app.server)).status).toBe(503)
    expect(app.errors).toEqual([])
  })

  it('endAll() ends the streams, and the next ones are served', async () => {
    const app = start(kind)
    const client = await joined(app)
    app.stream.endAll()
    await until('it is over', () => client.isOver)
    expect(client.isComplete).toBe(true)
    expect((await joined(app, { 'last-event-id': client.lastEventId })).status).toBe(200)
  })

  it('a client that does not read is disconnected, and continues where it was', async () => {
    const app = start(kind, { maxBuffer: 65_536 })
    const client = await joined(app)
    client.res.pause()
    const data = 'x'.repeat(16_000)
    let published = 0
    await until(
      'it is disconnected',
      async () => {
        for (let i = 0; i < 20; i++) await app.live.publish('a', { n: published++, data })
        return app.stream.size === 0
      },
      15_000,
    )
    client.res.resume()
    await until('its connection is broken off', () => client.isOver)
    expect(client.isComplete).toBe(false)
    expect(app.errors).toEqual([])
    const again = await openEvents(app.server, '/', { 'last-event-id': client.lastEventId })
    await until('the rest has arrived', () => {
      const all = [...client.data, ...again.data]
      return all.at(-1)?.data?.n === published - 1
    })
    const numbers = [...client.data, ...again.data].map((each) => each.data.n)
    expect(numbers).toEqual(Array.from({ length: published }, (_, n) => n))
  }, 30_000)

  it('HEAD gets the head alone, another method the handler, no topic 204', async () => {
    const app = start(kind, { topics: ({ headers }) => headers['x-topics'] })
    const { default: request } = await import('supertest')
    const head = await request(app.server).head('/').set('x-topics', 'a')
    expect([head.status, head.headers['content-type']]).toEqual([200, 'text/event-stream'])
    expect((await app.post('/', { 'x-topics': 'a' })).text).toBe('ok')
    expect((await app.get('/')).status).toBe(204)
    expect(app.stream.size).toBe(0)
  })

  it('refuses topics that may not be read, too many, and what is no topic', async () => {
    const asked: string[] = []
    const app = start(kind, {
      topics: ({ headers }) => JSON.parse(headers['x-list'] as string),
      authorize: async (_native, topic) => {
        asked.push(topic)
        return (topic.startsWith('own:') ? true : topic === 'truthy' ? 'yes' : false) as boolean
      },
    })
    const ask = async (list: unknown): Promise<number> =>
      (await openEvents(app.server, '/', { 'x-list': JSON.stringify(list) })).status
    expect(await ask('own:1')).toBe(200)
    expect(await ask(['own:1', 'own:1'])).toBe(200)
    expect(await ask(['own:1', 'theirs'])).toBe(403)
    expect(await ask(['truthy'])).toBe(403)
    expect(asked).toEqual(['own:1', 'own:1', 'own:1', 'theirs', 'truthy'])
    expect(await ask([''])).toBe(400)
    expect(await ask([5])).toBe(400)
    expect(await ask(Array.from({ length: 51 }, (_, i) => `own:${i}`))).toBe(400)
    expect(await ask(['x'.repeat(257)])).toBe(400)
  })

  it('an error of a callback reaches the error handler, and leaves no stream', async () => {
    const app = start(kind, {
      topics() {
        throw Object.assign(new Error('no'), { status: 418 })
      },
    })
    expect((await openEvents(app.server)).status).toBe(418)
    expect(app.stream.size).toBe(0)
  })

  it('two tenants with the same topic: nothing crosses', async () => {
    const tenant = ({ headers }: any): string => headers['x-tenant']
    const app = start(kind, {}, { options: { store: testStore(), tenant } })
    const [a, b] = [await joined(app, { 'x-tenant': 'a' }), await joined(app, { 'x-tenant': 'b' })]
    await app.live.publish('a', 'for a', { tenant: 'a' })
    await app.live.publish('a', 'for b', { tenant: 'b' })
    await until('both have arrived', () => a.events.length === 1 && b.events.length === 1)
    expect([messages(a), messages(b)]).toEqual([['for a'], ['for b']])
    const stolen = await openEvents(app.server, '/', {
      'x-tenant': 'b',
      'last-event-id': a.lastEventId.replace(/\.\d+-\d+/, '.0-0'),
    })
    await until('it has arrived', () => stolen.events.length === 1)
    expect(messages(stolen)).toEqual(['for b'])
  })

  it('behind session, rate limit and cache, helmet and a compressor, each event comes at once', async () => {
    const isKoa = kind.name.startsWith('Koa')
    const secure = helmet()
    const around = (tp: any): any[] => [
      isKoa
        ? ({ req, res }: any, next: () => unknown) => (secure(req, res, () => {}), next())
        : secure,
      ...(isKoa ? [compress({ threshold: 0 })] : [compression({ threshold: 0 })]),
      tp.session({ secret: 's'.repeat(32) }),
      (native: any, second: any, third: any) => {
        ;(isKoa ? native.session : native.session).visits = 1
        return isKoa ? second() : third()
      },
      tp.rateLimit({ limit: 100, window: '1m' }),
      tp.cache({ ttl: '1m', public: true, key: () => 'stream' }),
    ]
    const app = start(kind, {}, { around })
    const client = await joined(app, { 'accept-encoding': 'gzip' })
    expect(client.headers['content-encoding']).toBeUndefined()
    expect(client.headers['set-cookie']).toBeDefined()
    expect(client.headers['ratelimit']).toBeDefined()
    expect(client.headers['content-security-policy']).toBeDefined()
    for (const n of [1, 2]) {
      await app.live.publish('a', n)
      await until('it has arrived', () => client.events.length === n)
    }
    const second = await joined(app)
    await app.live.publish('a', 3)
    await until('both get it', () => client.events.length === 3 && second.events.length === 1)
  })
})

it('endAll() ends the streams of its mount alone, and tp.close() those of all', async () => {
  let other!: any
  const around = (tp: any): any[] => {
    other = sse(channels(tp), { topics: topicsOf })
    return [(req: any, res: any, next: any) => (req.url === '/b' ? other(req, res, next) : next())]
  }
  const app = start(apps[0]!, {}, { around })
  const [client, left] = [await joined(app), await joined(app, {}, '/b')]
  app.stream.endAll()
  await until('it is over', () => client.isOver)
  expect([app.stream.size, other.size, left.isOver]).toEqual([0, 1, false])
  await app.tp.close()
  await until('the other is over', () => left.isOver)
  expect(left.isComplete).toBe(true)
})

it.each(apps)('$name: endAll() of each mount and router lets server.close() end', async (kind) => {
  let mounts!: StreamControl[]
  let tasks!: ProgressTracker
  const app = kind.start({
    options: { store: testStore() },
    mount(tp) {
      const live = channels(tp)
      tasks = progress(live)
      mounts = [
        inbox(live).router({ user: () => 'ann' }),
        tasks.router({ authorize: () => true }),
        sse(live, { topics: topicsOf }),
      ]
      return mounts
    },
  })
  onTestFinished(() => app.tp.close())
  await tasks.of('task').start()
  const clients: EventClient[] = []
  for (const path of ['/inbox/stream', '/progress/task/stream', '/'])
    clients.push(await openEvents(app.server, path))
  expect(clients.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(mounts.map(({ size }) => size)).toEqual([1, 1, 1])
  for (const mount of mounts) mount.endAll()
  // Not closeAllConnections(): nothing may be left that it would have to cut.
  await new Promise((resolve) => void app.server.close(resolve))
  expect(mounts.map(({ size }) => size)).toEqual([0, 0, 0])
  for (const client of clients) await until('it is over', () => client.isOver)
  expect(clients.map(({ isComplete }) => isComplete)).toEqual([true, true, true])
})

it('over HTTP/2 each event comes at once, and a stream that the client resets is over', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  const stream = sse(live, { topics: () => 'a' })
  const server = createServer((req, res) => {
    stream(req as never, res as never, () => void res.writeHead(404).end())
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = http2Client(new URL(`http://127.0.0.1:${port}`))
  const received = client.request({ ':path': '/' }).setEncoding('utf8')
  let text = ''
  received.on('data', (chunk: string) => (text += chunk))
  const [headers] = (await once(received, 'response')) as [Record<string, unknown>]
  expect(headers).toMatchObject({ ':status': 200, 'content-type': 'text/event-stream' })
  await until('it has joined', () => text.includes('id: '))
  for (const n of [1, 2]) {
    await live.publish('a', n)
    await until('it has arrived', () => text.includes(`"data":${n}}`))
  }
  expect(stream.size).toBe(1)
  received.close(constants.NGHTTP2_CANCEL)
  await until('it is over', () => stream.size === 0)
})

it('keeps an idle connection open by comments, and a busy one without', async () => {
  const app = start(apps[0]!, { heartbeat: '20ms' })
  const client = await joined(app)
  await until('comments arrive', () => client.comments >= 3)
  client.close()
  await until('the stream is gone', () => app.stream.size === 0)
})

it('one timer serves the heartbeats of all streams', async () => {
  const app = start(apps[4]!, {})
  const timers = vi.spyOn(globalThis, 'setInterval')
  await joined(app)
  await Promise.all(Array.from({ length: 20 }, () => joined(app)))
  const own = timers.mock.calls.filter(([, ms]) => ms === 15_000)
  timers.mockRestore()
  expect(own).toHaveLength(1)
})

it('a stream ends after its longest life, and the client is authorized again', async () => {
  let isAllowed = true
  const app = start(apps[0]!, { maxAge: '50ms', heartbeat: '10ms', authorize: () => isAllowed })
  const client = await joined(app)
  await until('it is over', () => client.isOver)
  expect(client.isComplete).toBe(true)
  isAllowed = false
  const { status } = await openEvents(app.server, '/', { 'last-event-id': client.lastEventId })
  expect(status).toBe(403)
})

it('format chooses name and data of an event, and may leave one out', async () => {
  const app = start(apps[0]!, {
    format: (topic, data) =>
      data === 'secret'
        ? undefined
        : { event: data === 1 ? 'first\ndata: forged' : undefined, data: `${topic}\n${data}` },
  })
  const client = await joined(app)
  for (const data of ['secret', 1, 2]) await app.live.publish('a', data)
  await until('both have arrived', () => client.events.length === 2)
  expect(client.events.map(({ event, data }) => [event, data])).toEqual([
    ['firstdata:forged', 'a\n1'],
    ['message', 'a\n2'],
  ])
})

it('without a history events have no ID', async () => {
  const app = start(apps[0]!, {}, { history: false })
  const client = await openEvents(app.server)
  await until('it is there', () => client.retry !== undefined)
  await until('it has arrived', async () => {
    await app.live.publish('a', 1)
    return client.events.length > 0
  })
  expect(client.events[0]).toEqual({ event: 'message', data: '{"topic":"a","data":1}', id: '' })
})

it('this process has only so many streams', async () => {
  const app = start(apps[0]!, { maxStreams: 2 })
  const first = await joined(app)
  await joined(app)
  expect((await openEvents(app.server)).status).toBe(503)
  first.close()
  await until('a place is free', () => app.stream.size === 1)
  expect((await joined(app)).status).toBe(200)
})

it('while Redis is away a stream opens all the same, and begins when it is back', async () => {
  const store = testStore()
  const app = start(apps[0]!, { user: () => 'ann' }, { options: { store } })
  const seen: unknown[] = []
  app.tp.on('unavailable', ({ feature, rule }) => seen.push([feature, rule]))
  store.fail()
  const client = await openEvents(app.server)
  expect(client.status).toBe(200)
  store.recover()
  await until('it has joined', async () => {
    await store.advance('1s')
    return client.lastEventId
  })
  await app.live.publish('a', 1)
  await until('it has arrived', () => client.events.length === 1)
  expect(seen).toEqual([['sse', 'open']])
})

it.each([
  ['a made-up ID', 'x'],
  ['a long one', 'ca978112ca.1-1~'.repeat(1000)],
  ['another form', 'ca978112ca.1-1-1~ca978112ca'],
  ['a position that is none', `ca978112ca.${'9'.repeat(40)}-1`],
])('%s is ignored', async (_name, id) => {
  const app = start(apps[0]!)
  const client = await joined(app, { 'last-event-id': id })
  await app.live.publish('a', 1)
  await until('it has arrived', () => client.events.length === 1)
  expect(messages(client)).toEqual([1])
})

it.each<[string, any]>([
  ['topics', {}],
  ['topics', { topics: 'a' }],
  ['heartbeat', { topics: topicsOf, heartbeat: 0 }],
  ['maxBuffer', { topics: topicsOf, maxBuffer: 10 }],
  ['perUser', { topics: topicsOf, perUser: true }],
  ['heartbeet', { topics: topicsOf, heartbeet: '1s' }],
])('refuses a wrong %s', (option, options) => {
  const { live } = start(apps[0]!)
  expect(() => sse(live, options)).toThrow(
    expect.objectContaining({ code: 'TP_OPTION', message: expect.stringContaining(option) }),
  )
  expect(() => sse({} as any, { topics: topicsOf })).toThrow(/channels\(\)/)
})
