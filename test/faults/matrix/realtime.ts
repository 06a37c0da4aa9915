/** Channels, event streams and inboxes in the matrix of faults. */
import { expect } from 'vitest'
import { channels, inbox, sse } from '../../../src/realtime.ts'
import { until } from '../../support/until.ts'
import { always, fails, type Feature, type Rule, type Subject } from './feature.ts'
import type { Ask } from './site.ts'

const TOPIC = 'news'
const USER = 'ann'
/** 200, and 503 while Redis fails. Each write needs memory. */
const failsTo503: Rule = { ...fails(503), full: [503] }

/** A subscriber stays under every fault. It gets each message once and in order, or is told of a gap. */
export const channel: Feature = {
  name: 'channel',
  open({ tp, site, another, fault: { forgets } }) {
    const live = channels(tp)
    const seen: (number | 'gap')[] = []
    const acknowledged: number[] = []
    let count = 0
    site.serve('/publish', [], async ({ headers }) => [
      200,
      await live.publish(TOPIC, Number(headers['x-number'])),
    ])
    site.serve('/subscribe', [], async () => {
      await live.subscribe(TOPIC, { after: '0-0' }).return()
      return [200, 'ok']
    })
    const next = (): Ask => ({
      path: '/publish',
      method: 'POST',
      headers: { 'x-number': String(++count) },
    })
    const check: Subject['check'] = ({ status }, { headers }) =>
      headers !== undefined && status === 200 && acknowledged.push(Number(headers['x-number']))
    const listen = async (): Promise<void> => {
      // Another process has a connection of its own.
      const subscription = channels(another()).subscribe<number>(TOPIC, { after: '0-0' })
      for await (const { data, gap } of subscription) seen.push(gap ? 'gap' : data)
    }
    let listening: Promise<void> | undefined
    return {
      questions: [
        {
          name: 'publish',
          rule: failsTo503,
          waits: 'once',
          next() {
            listening ??= listen()
            return next()
          },
        },
        {
          name: 'subscribe',
          rule: { ...always(200), forbidden: [200], garbled: [200] },
          waits: 'once',
          next: () => ({ path: '/subscribe' }),
        },
      ],
      check,
      probe: { next, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        const last = await until('a message is published', async () => {
          const { status } = await ask(next())
          return status === 200 && acknowledged.at(-1)
        })
        await until('the subscriber has it', () => seen.includes(last as number))
        const numbers = seen.filter((item) => item !== 'gap')
        expect(new Set(numbers).size).toBe(numbers.length)
        const inOrder = numbers.filter((n) => acknowledged.includes(n))
        expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b))
        if (forgets) expect(seen.length).toBeGreaterThan(0)
        else expect(inOrder).toEqual(acknowledged)
      },
    }
  },
}

/** A stream opens whether Redis is there or not. */
export const eventStream: Feature = {
  name: 'event stream',
  open({ tp, site }) {
    // A stream ends soon, so that its response can be measured.
    const mount = sse(channels(tp), {
      topics: () => [TOPIC],
      user: () => USER,
      perUser: 10_000,
      heartbeat: 10,
      maxAge: 10,
    })
    let isFromRedis = false
    tp.on('unavailable', () => (isFromRedis = false))
    site.serve('/stream', [mount], () => [404, 'the stream was not opened'])
    const next = (): Ask => {
      isFromRedis = true
      return { path: '/stream' }
    }
    return {
      questions: [{ name: 'event stream', rule: always(200), waits: 'twice', next }],
      check: ({ status, body }) => status === 200 && expect(body).toMatch(/^retry: \d+\n\n/),
      probe: { next, usesRedis: ({ status }) => status === 200 && isFromRedis },
    }
  },
}

/** A message is pushed once, and the unread count is that of the pages, under every fault. */
export const inboxes: Feature = {
  name: 'inbox',
  open({ tp, site, fault: { forgets } }) {
    const mails = inbox(channels(tp), { max: 5000 })
    const pushed = new Set<string>()
    let count = 0
    site.serve('/push', [], async ({ headers }) => {
      const id = headers['x-id']
      return [200, (await mails.push(USER, 'text', { id })).id]
    })
    site.serve('/page', [], async () => [200, JSON.stringify(await mails.page(USER))])
    const push = (id: string): Ask => ({ path: '/push', method: 'POST', headers: { 'x-id': id } })
    const check: Subject['check'] = ({ status, body }, { path }) => {
      if (status === 200 && path === '/push') pushed.add(body)
      else if (status === 200) {
        const { messages, unread } = JSON.parse(body)
        expect(unread.messages).toBeGreaterThanOrEqual(messages.length)
      }
    }
    const next = (): Ask => push(`m${++count}`)
    return {
      questions: [
        { name: 'inbox, pushed', rule: fails(503), waits: 'once', next },
        {
          name: 'inbox, read',
          rule: fails(503),
          waits: 'once',
          next: () => ({ path: '/page' }),
        },
      ],
      check,
      probe: { next, usesRedis: ({ status }) => status === 200 },
      async expectNoLateEffects(ask) {
        // A retry of every push, whatever became of the first one.
        for (let i = Math.max(1, count - 100); i <= count; i++)
          await until('the retry is pushed', async () => (await ask(push(`m${i}`))).status === 200)
        const ids: string[] = []
        let unread = 0
        for (let cursor: string | undefined; ;) {
          const page = await until('a page is read', async () =>
            mails.page(USER, { cursor, limit: 100 }).catch(() => undefined),
          )
          ids.push(...page.messages.map(({ id }) => id))
          unread = page.unread.messages
          cursor = page.next
          if (cursor === undefined) break
        }
        expect(unread).toBe(ids.length)
        expect(new Set(ids).size).toBe(ids.length)
        if (!forgets) expect(ids).toEqual(expect.arrayContaining([...pushed]))
      },
    }
  },
}
