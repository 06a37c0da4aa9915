/** Messages of users, on every framework and both engines. */
import express from 'express'
import request from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'
import { turnpike as forExpress } from '../../../src/express.ts'
import { turnpike } from '../../../src/node.ts'
import {
  channels,
  inbox,
  sse,
  type Channels,
  type InboxOptions,
  type InboxRouterOptions,
} from '../../../src/realtime.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps, type App, type AppKind } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { openEvents, type EventClient } from './event-source.ts'

function create(options: TurnpikeOptions<any> = { store: testStore() }, own: InboxOptions = {}) {
  const tp = turnpike({ requestBudget: '10s', ...options })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  return { live, mails: inbox(live, own), tp }
}

interface Running extends App {
  mails: ReturnType<typeof inbox<any, any>>
  stream: ReturnType<typeof sse<any, any>>
}

function start(
  kind: AppKind,
  options: TurnpikeOptions<any> = { store: testStore() },
  router: InboxRouterOptions<any> = {},
): Running {
  let parts!: Pick<Running, 'mails' | 'stream'>
  const app = kind.start({
    options,
    mount(tp) {
      const live = channels(tp)
      const user = ({ headers }: any): string => headers['x-user']
      parts = { mails: inbox(live), stream: sse(live, { topics: () => 'a', user }) }
      return [parts.mails.router({ user, ...router })]
    },
  })
  onTestFinished(() => app.tp.close())
  return Object.assign(app, parts)
}

const ids = ({ messages }: { messages: readonly { id: string }[] }): string =>
  messages.map(({ id }) => id).join('')
const shown = (client: EventClient): unknown[] =>
  client.events.map(({ data, event }) => [event, JSON.parse(data)])

describe.each(bothEngines())('inbox, $name', ({ open }) => {
  it('pushes, pages, reads and deletes', async () => {
    const { prefix, store } = open()
    const { mails } = create({ prefix, store })
    for (const [i, id] of ['a', 'b', 'c', 'd', 'e'].entries())
      expect(await mails.push('ann', { n: i }, { id })).toEqual({ id, isNew: true, unread: i + 1 })
    await mails.push('bob', 'of another user', { id: 'a' })
    const first = await mails.page('ann', { limit: 2 })
    expect(first).toMatchObject({
      messages: [
        { id: 'e', data: { n: 4 }, read: false },
        { id: 'd', data: { n: 3 }, read: false },
      ],
      announcements: [],
      unread: { messages: 5, announcements: 0 },
    })
    // What is pushed and deleted between two pages neither repeats nor hides a message.
    await mails.push('ann', 'new', { id: 'f' })
    await mails.delete('ann', 'd')
    const second = await mails.page('ann', { limit: 2, cursor: first.next })
    expect(ids(second)).toBe('cb')
    const third = await mails.page('ann', { limit: 2, cursor: second.next })
    expect([ids(third), third.next]).toEqual(['a', undefined])

    expect(await mails.read('ann', ['c', 'c', 'unknown'])).toBe(4)
    expect(await mails.readUpTo('ann', 'b')).toBe(2)
    expect(await mails.readUpTo('ann', 'unknown')).toBe(2)
    const page = await mails.page('ann')
    expect(page.messages.map(({ id, read }) => `${id}${read ? '' : '*'}`).join(' ')).toBe(
      'f* e* c b a',
    )
    expect(await mails.delete('ann', ['e', 'a', 'unknown'])).toBe(2)
    expect(await mails.unread('ann')).toEqual({ messages: 1, announcements: 0 })
    expect(await mails.readAll('ann')).toBe(0)
    expect(await mails.unread('bob')).toEqual({ messages: 1, announcements: 0 })
  })

  it('pushes an ID once, also after it was read, deleted or made room', async () => {
    const { prefix, store } = open()
    const { mails } = create({ prefix, store }, { max: 2 })
    const pushes = await Promise.all(
      Array.from({ length: 10 }, () => mails.push('ann', 1, { id: 'a' })),
    )
    expect(pushes.filter(({ isNew }) => isNew)).toHaveLength(1)
    await mails.read('ann', 'a')
    expect(await mails.push('ann', 1, { id: 'a' })).toMatchObject({ isNew: false, unread: 0 })
    await mails.delete('ann', 'a')
    expect(await mails.push('ann', 1, { id: 'a' })).toMatchObject({ isNew: false, unread: 0 })
    for (const id of ['b', 'c', 'd']) await mails.push('ann', 1, { id })
    expect(await mails.push('ann', 1, { id: 'b' })).toMatchObject({ isNew: false, unread: 2 })
    expect(ids(await mails.page('ann'))).toBe('dc')
    // Without an ID each push is one message.
    const [one, other] = [await mails.push('ann', 1), await mails.push('ann', 1)]
    expect(one.id).not.toBe(other.id)
  })

  it('drops the oldest beyond its cap and the old, and the count follows', async () => {
    const { advance, prefix, store } = open()
    const { mails } = create({ prefix, store }, { max: 3, ttl: '1h' })
    await mails.push('ann', 1, { id: 'a' })
    await mails.push('ann', 1, { id: 'b' })
    await mails.read('ann', 'b')
    await advance('30m')
    await mails.push('ann', 1, { id: 'c' })
    // The unread `a` makes room.
    expect(await mails.push('ann', 1, { id: 'd' })).toMatchObject({ unread: 2 })
    await advance('31m')
    expect(ids(await mails.page('ann'))).toBe('dc')
    expect(await mails.unread('ann')).toMatchObject({ messages: 2 })
    await advance('31m')
    expect(ids(await mails.page('ann'))).toBe('')
    expect(await mails.unread('ann')).toMatchObject({ messages: 0 })
  })

  it('whatever is pushed, read and deleted at once: the count is the number of unread messages', async () => {
    const { prefix, store } = open()
    const { mails } = create({ prefix, store }, { max: 20 })
    await Promise.all(
      Array.from({ length: 300 }, (_, i) => {
        const id = `m${(i * 7) % 40}`
        const calls = [
          () => mails.push('ann', i, { id }),
          () => mails.push('ann', i, { id: `n${i}` }),
          () => mails.read('ann', id),
          () => mails.delete('ann', [id, `n${i - 4}`]),
          () => (i % 50 === 4 ? mails.readUpTo('ann', `n${i - 6}`) : mails.read('ann', `n${i}`)),
        ]
        return calls[i % calls.length]!()
      }),
    )
    const { messages, unread } = await mails.page('ann', { limit: 100 })
    expect(messages.length).toBeGreaterThan(0)
    expect(messages.length).toBeLessThanOrEqual(20)
    expect(unread.messages).toBe(messages.filter(({ read }) => !read).length)
  })

  it('keeps the order of messages if the clock is set back', async () => {
    const { back, prefix, store } = open()
    const { mails } = create({ prefix, store })
    await mails.push('ann', 1, { id: 'a' })
    await back('10m')
    await mails.push('ann', 1, { id: 'b' })
    await mails.push('ann', 1, { id: 'c' })
    expect(ids(await mails.page('ann'))).toBe('cba')
    expect(await mails.readUpTo('ann', 'b')).toBe(1)
  })

  it('announces to all users, from and until a time, and each reads for himself', async () => {
    const { advance, prefix, store } = open()
    const { mails } = create({ prefix, store })
    const now = store.now()
    expect(await mails.announce('now', { id: 'now' })).toEqual({ id: 'now', isNew: true })
    expect(await mails.announce('again', { id: 'now' })).toEqual({ id: 'now', isNew: false })
    await mails.announce('later', {
      id: 'later',
      from: new Date(now + 60_000),
      until: now + 120_000,
    })
    expect((await mails.page('ann')).announcements).toEqual([
      { id: 'now', from: now, until: now + 90 * 86_400_000, data: 'now', read: false },
    ])
    await mails.readAnnouncements('ann')
    expect(await mails.unread('ann')).toEqual({ messages: 0, announcements: 0 })
    expect(await mails.unread('bob')).toEqual({ messages: 0, announcements: 1 })
    await advance('61s')
    // What was announced before, but is shown only now, is unread.
    const { announcements, unread } = await mails.page('ann')
    expect(announcements.map(({ id, read }) => [id, read])).toEqual([
      ['later', false],
      ['now', true],
    ])
    expect(unread).toEqual({ messages: 0, announcements: 1 })
    await advance('60s')
    expect((await mails.page('ann')).announcements).toHaveLength(1)
    expect(await mails.withdraw('now')).toBe(true)
    expect(await mails.withdraw('now')).toBe(false)
    expect(await mails.unread('bob')).toEqual({ messages: 0, announcements: 0 })
  })

  it.each(apps)('$name: the router pages, marks and deletes', async (kind) => {
    const { prefix, store } = open()
    const app = start(kind, { prefix, store })
    const ann = { 'x-user': 'ann' }
    for (const id of ['a', 'b', 'c:1']) await app.mails.push('ann', { id }, { id })
    await app.mails.announce('hello')
    const page = await app.get('/inbox?limit=2', ann)
    expect(page.status).toBe(200)
    expect(page.headers['cache-control']).toBe('no-store')
    expect(ids(page.body)).toBe('c:1b')
    const rest = await app.get(`/inbox?cursor=${page.body.next}`, ann)
    expect(ids(rest.body)).toBe('a')
    const mark = (body: object) => request(app.server).post('/inbox/read').set(ann).send(body)
    expect((await mark({ ids: ['a'] })).body).toEqual({
      unread: { messages: 2, announcements: 1 },
    })
    expect((await mark({ upTo: 'b' })).body.unread.messages).toBe(1)
    const deleted = await request(app.server).delete('/inbox/c%3A1').set(ann)
    expect([deleted.status, deleted.body]).toEqual([
      200,
      { unread: { messages: 0, announcements: 1 } },
    ])
    expect((await request(app.server).delete('/inbox/c:1').set(ann)).status).toBe(404)
    await app.mails.push('ann', 'new')
    expect((await mark({ all: true })).body.unread).toEqual({ messages: 0, announcements: 1 })
    expect((await mark({ announcements: true })).body.unread).toEqual({
      messages: 0,
      announcements: 0,
    })
    for (const body of [{}, { ids: [] }, { ids: 'a' }, { all: false }, { all: true, ids: ['a'] }])
      expect((await mark(body)).status, JSON.stringify(body)).toBe(400)
    expect((await mark({ ids: Array.from({ length: 101 }, (_, i) => `m${i}`) })).status).toBe(400)
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'limit=', 'cursor=-1', 'cursor=x'])
      expect((await app.get(`/inbox?${query}`, ann)).status, query).toBe(400)
    for (const [path, allow] of [
      ['/inbox/a', 'DELETE'],
      ['/inbox/read', 'POST, DELETE'],
    ] as const) {
      const wrong = await app.get(path, ann)
      expect([wrong.status, wrong.headers.allow]).toEqual([405, allow])
    }
    for (const path of ['/', '/inbox/a/b', '/inboxes', '/inbox/%ff'])
      expect((await app.get(path, ann)).text).toBe('ok')
  })

  it.each(apps)('$name: the stream shows the count and each change, and resumes', async (kind) => {
    const { prefix, store } = open()
    const app = start(kind, { prefix, store })
    await app.mails.push('ann', 'before', { id: 'a' })
    const client = await openEvents(app.server, '/inbox/stream', { 'x-user': 'ann' })
    await until('the count', () => client.events.length === 1)
    await app.mails.push('bob', 'of another user')
    await app.mails.push('ann', 'hello', { id: 'b' })
    await app.mails.read('ann', 'a')
    await app.mails.read('ann', 'a')
    await until('the changes', () => client.events.length === 3)
    expect(shown(client)).toEqual([
      ['unread', { unread: { messages: 1, announcements: 0 } }],
      ['push', { message: { id: 'b', at: expect.any(Number), data: 'hello' }, unread: 2 }],
      ['read', { ids: ['a'], unread: 1 }],
    ])
    client.close()
    await app.mails.delete('ann', ['a', 'b'])
    const again = await openEvents(app.server, '/inbox/stream', {
      'x-user': 'ann',
      'last-event-id': client.lastEventId,
    })
    await until('what was missed', () => again.events.length === 1)
    expect(shown(again)).toEqual([['delete', { ids: ['a', 'b'], unread: 0 }]])
    await app.mails.readAll('ann')
    await app.mails.push('ann', 'last', { id: 'c' })
    await until('only the push', () => again.events.length === 2)
    expect(again.events[1]!.event).toBe('push')
  })
})

describe.each(apps)('$name', (kind) => {
  it('requests of other sites change nothing', async () => {
    const app = start(kind)
    await app.mails.push('ann', 1, { id: 'a' })
    const host = '127.0.0.1'
    const foreign: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site', origin: `http://${host}` },
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://' },
      { origin: `http://${host}:1` },
    ]
    for (const headers of foreign) {
      const all = { host, 'x-user': 'ann', ...headers }
      const mark = await request(app.server).post('/inbox/read').set(all).send({ all: true })
      expect([mark.status, JSON.stringify(headers)]).toEqual([403, JSON.stringify(headers)])
      expect((await request(app.server).delete('/inbox/a').set(all)).status).toBe(403)
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])
      expect(
        (
          await request(app.server)
            .post('/inbox/read')
            .set({ 'x-user': 'ann', 'content-type': type })
            .send('{"all":true}')
        ).status,
      ).toBe(415)
    expect(await app.mails.unread('ann')).toMatchObject({ messages: 1 })
    for (const headers of [
      { 'sec-fetch-site': 'same-origin' },
      { origin: `http://${host}` },
      { origin: `http://${host}:80` },
    ]) {
      const all = { host, 'x-user': 'ann', ...headers }
      const mark = await request(app.server).post('/inbox/read').set(all).send({ all: true })
      expect([mark.status, mark.body.unread.messages]).toEqual([200, 0])
    }
  })

  it('nobody reads without a user, and everybody only his own', async () => {
    const app = start(kind)
    await app.mails.push('ann', 'secret', { id: 'a' })
    for (const path of ['/inbox', '/inbox/stream']) expect((await app.get(path)).status).toBe(401)
    expect((await request(app.server).delete('/inbox/a')).status).toBe(401)
    expect((await app.get('/inbox', { 'x-user': 'bob' })).body.messages).toEqual([])
    expect((await request(app.server).delete('/inbox/a').set('x-user', 'bob')).status).toBe(404)
    expect(await app.mails.unread('ann')).toMatchObject({ messages: 1 })
  })

  it('two tenants with the same user: nothing crosses', async () => {
    const tenant = ({ headers }: any): string => headers['x-tenant']
    const app = start(kind, { store: testStore(), tenant })
    await expect(app.mails.push('ann', 1)).rejects.toMatchObject({ code: 'TP_KEY' })
    await app.mails.push('ann', 1, { tenant: 'a' })
    await app.mails.announce('hello', { tenant: 'a' })
    const unread = async (id: string): Promise<unknown> =>
      (await app.get('/inbox', { 'x-user': 'ann', 'x-tenant': id })).body.unread
    expect(await unread('a')).toEqual({ messages: 1, announcements: 1 })
    expect(await unread('b')).toEqual({ messages: 0, announcements: 0 })
  })

  it('replies 503 while Redis is away', async () => {
    const app = start(kind, { redis: 'redis://127.0.0.1:1', logger: false })
    expect((await app.get('/inbox', { 'x-user': 'ann' })).status).toBe(503)
    await expect(app.mails.push('ann', 1)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  })

  it('a user has at most 20 streams, and they end with those of sse()', async () => {
    const app = start(kind)
    const ann = { 'x-user': 'ann' }
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => openEvents(app.server, '/inbox/stream', ann)),
    )
    expect(streams.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
    expect((await app.get('/inbox/stream', ann)).status).toBe(429)
    await app.stream.end('ann')
    await until('all have ended', () => streams.every(({ isOver }) => isOver))
    expect((await openEvents(app.server, '/inbox/stream', ann)).status).toBe(200)
  })
})

it('is served below a mount path of Express, with a body parser', async () => {
  const tp = forExpress({ store: testStore(), requestBudget: '10s' })
  onTestFinished(() => tp.close())
  const mails = inbox(channels(tp))
  const app = express().use(express.json())
  app.use('/api/mails', mails.router({ user: () => 'ann' }))
  await mails.push('ann', 1, { id: 'a' })
  expect(ids((await request(app).get('/api/mails')).body)).toBe('a')
  const marked = await request(app)
    .post('/api/mails/read')
    .send({ ids: ['a'] })
  expect(marked.body).toEqual({ unread: { messages: 0, announcements: 0 } })
})

describe('mistakes', () => {
  it.each([
    ['ttl', (live: Channels) => inbox(live, { ttl: '366d' })],
    ['max', (live: Channels) => inbox(live, { max: 0 })],
    ['path', (live: Channels) => inbox(live).router({ path: '/' })],
  ])('%s that cannot be used', (option, make) => {
    const { live } = create()
    expect(() => make(live)).toThrow(expect.objectContaining({ code: 'TP_OPTION', option }))
  })

  it('a second inbox with other options', () => {
    const { live } = create(undefined, { max: 10 })
    expect(() => inbox(live, { max: 10 })).not.toThrow()
    expect(() => inbox(live, { max: 11 })).toThrow(expect.objectContaining({ code: 'TP_OPTION' }))
  })

  it('users, IDs and data that cannot be used', async () => {
    const { mails } = create()
    for (const user of ['', 'x'.repeat(201), '\ud800', Number.NaN, undefined, null, {}])
      await expect(mails.push(user as string, 1)).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const id of ['', '..', 'a b', 'a/b', '"', 'x'.repeat(101)])
      await expect(mails.push('ann', 1, { id })).rejects.toMatchObject({ code: 'TP_KEY' })
    for (const data of [undefined, 1n, 'x'.repeat(16_384)])
      await expect(mails.push('ann', data)).rejects.toMatchObject({ code: 'TP_VALUE' })
    for (const names of [[], undefined, ['a', 7], Array.from({ length: 101 }, () => 'a')])
      await expect(mails.read('ann', names as string[])).rejects.toMatchObject({ code: 'TP_KEY' })
    await expect(mails.announce('x'.repeat(4096))).rejects.toMatchObject({ code: 'TP_VALUE' })
    expect(await mails.page('ann')).toMatchObject({ messages: [], announcements: [] })
  })

  it('more announcements than fit, and times that are over', async () => {
    const store = testStore()
    const { mails } = create({ store })
    for (let i = 0; i < 50; i++) await mails.announce(i)
    await expect(mails.announce('one too many')).rejects.toMatchObject({ code: 'TP_LIMITED' })
    const now = store.now()
    for (const times of [
      { until: now - 1 },
      { from: now + 10, until: now + 10 },
      { until: now + 91 * 86_400_000 },
    ])
      await expect(mails.announce('x', times)).rejects.toMatchObject({ code: 'TP_VALUE' })
    for (const from of [new Date(Number.NaN), -1, '2026-01-01'])
      await expect(mails.announce('x', { from: from as Date })).rejects.toMatchObject({
        code: 'TP_OPTION',
      })
  })
})
