import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  announceMessage,
  publishMessage,
  readHistory,
} from '../../../src/extensions/realtime/channels/operations.ts'
import {
  addAnnouncement,
  readAnnouncements,
  readSeen,
  seeAnnouncements,
  withdrawAnnouncement,
} from '../../../src/extensions/realtime/inbox/announcement-operations.ts'
import {
  countUnread,
  deleteMessages,
  markRead,
  pushMessage,
  readPage,
} from '../../../src/extensions/realtime/inbox/operations.ts'
import { noteUsers, readOnline } from '../../../src/extensions/realtime/presence/operations.ts'
import {
  readProgress,
  updateProgress,
} from '../../../src/extensions/realtime/progress/operations.ts'
import {
  addValues,
  listValues,
  removeValues,
} from '../../../src/extensions/realtime/subscriptions/operations.ts'
import { operation, type Operation } from '../../../src/store/store.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const TIMEOUT = 60_000 + SEQUENCES * 20
const TTL = 86_400_000
const channel = (id: string): string => `news:${id}`

/** The run of the server differs: both reply 0 in its place. @param index of the position in the reply */
const withoutRun = (read: Operation<string[]>, index: number): Operation<string[]> =>
  operation({
    name: read.name,
    lua: read.lua
      .slice(read.lua.indexOf('local function whole'))
      .replace(/local run = .*/, 'local run = -10000'),
    memory: (...call) =>
      read.memory(...call).map((each, i) => (i === index ? each.replace(/-\d+$/, '-0') : each)),
  })
const history = withoutRun(readHistory, 1)

/** The same operation, with one label for all of its replies: they differ in every call. */
const labelled = (original: Operation<any>): Operation<any> => {
  const body = original.lua.slice(original.lua.indexOf('local function whole'))
  return operation({
    name: original.name,
    lua: `local function run()\n${body}\nend\nreturn { 'replied', run() }`,
    memory: (...call) => ['replied', original.memory(...call)],
  })
}
const progressUpdate = labelled(updateProgress)
const progressRead = labelled(withoutRun(readProgress, 2))

test(
  `${SEQUENCES} random sequences: the scripts of channels and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(
        publishMessage,
        publishMessage,
        announceMessage,
        history,
      ),
      most: fc.constantFrom(1, 2, 3, 10),
      after: fc.constantFrom('', '0-0', 'first', 'last', `${START + 1}-0`),
      count: fc.constantFrom(1, 2, 100),
      json: fc.constantFrom('1', '"a b"', '""', '{"a":"\\n"}', '"ü"'),
      bytes: fc.constantFrom(1, 2, 5, 1000),
      first: fc.constantFrom(0, 7),
      elapsed: fc.constantFrom(0, 0, 1, 5, -3),
    })
    const tally = await differential({
      name: 'channels',
      operations: [publishMessage, announceMessage, history],
      step,
      channel,
      play(steps, id, run) {
        const ids: string[] = []
        let now = START
        for (const {
          operation: called,
          most,
          after,
          count,
          json,
          elapsed,
          first,
          bytes,
        } of steps) {
          now += elapsed
          const keys = [`topic:{${id}}`]
          if (called === publishMessage) {
            const args = [json, most, TTL, channel(id), first]
            ids.push(String(run({ operation: called, keys, args, now })))
          } else if (called === announceMessage) {
            run({ operation: called, keys, args: [json, channel(id)], now })
          } else {
            const known = after === 'first' ? ids[0] : after === 'last' ? ids.at(-1) : after
            run({ operation: called, keys, args: [known ?? '', count, bytes], now })
          }
        }
      },
    })
    expect(Object.keys(tally).some((label) => label.startsWith('channels.publish'))).toBe(true)
    expect(tally['channels.announce 1']).toBeGreaterThan(0)
    expect(Object.keys(tally).some((label) => label.startsWith('channels.read'))).toBe(true)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of progress and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      change: fc.constantFrom('start', 'step', 'step', 'step', 'set', 'set', 'done', 'failed', ''),
      total: fc.constantFrom(0, 0, 1, 3, 7, 1_000_000_000),
      name: fc.constantFrom('', '"a/b"', String.raw`"\ud800 ü %d"`),
      percent: fc.integer({ min: 0, max: 10_000 }),
      cost: fc.constantFrom(0, 1, 999_999, 20_000, 1e12),
      reason: fc.constantFrom('null', '"no disk"'),
      elapsed: fc.constantFrom(0, 0, 1, 5, 1000, 3_599_999, -3),
    })
    const tally = await differential({
      name: 'progress',
      operations: [progressUpdate, progressRead],
      step,
      channel,
      play(steps, id, run) {
        let now = START
        for (const { change, cost, elapsed, name, percent, reason, total } of steps) {
          now += elapsed
          const keys = [`progress:{${id}}`, `topic:{${id}}`]
          const args = [change, total, name, percent, cost, reason, TTL, 3, TTL, channel(id), 7]
          if (change === '') run({ operation: progressRead, keys, args: [], now })
          else run({ operation: progressUpdate, keys, args, now })
        }
      },
    })
    expect(tally['progress.update replied']).toBeGreaterThan(SEQUENCES)
    expect(tally['progress.read replied']).toBeGreaterThan(SEQUENCES / 10)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of inboxes and their twins reply and publish alike`,
  async () => {
    const count = withoutRun(countUnread as Operation<any>, 2)
    const operations: Operation<any>[] = [pushMessage, readPage, markRead, deleteMessages, count]
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'E')
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(pushMessage, pushMessage, ...operations),
      id: name,
      ids: fc.uniqueArray(name, { minLength: 1, maxLength: 3 }),
      how: fc.constantFrom('ids', 'upTo', 'all'),
      data: fc.constantFrom('1', '"a/b"', '{"a":[]}', '"ü"'),
      cursor: fc.constantFrom('', 'next', String(START + 2)),
      limit: fc.constantFrom(1, 2, 100),
      bytes: fc.constantFrom(1, 60, 65_536),
      elapsed: fc.constantFrom(0, 0, 1, 5, 40, -3),
    })
    const tally = await differential({
      name: 'inbox',
      operations,
      step,
      channel,
      play(steps, id, run) {
        let now = START
        let next = ''
        const box = `inbox:{${id}}`
        const keys = [box, `${box}:messages`, `${box}:unread`, `${box}:removed`, `topic:{${id}}`]
        const append = [3, TTL, channel(id), 7]
        // Messages of a sequence grow too old within it.
        const [max, ttl] = [3, 50]
        for (const { operation: called, bytes, cursor, data, elapsed, how, ...rest } of steps) {
          now += elapsed
          const call = (args: (string | number)[]) => run({ operation: called, keys, args, now })
          if (called === pushMessage) call([rest.id, data, max, ttl, ...append])
          else if (called === readPage) {
            const page = call([cursor === 'next' ? next : cursor, rest.limit, bytes, ttl])
            next = String((page as unknown[])[1])
          } else if (called === markRead) call([how, ttl, ...append, ...rest.ids])
          else if (called === deleteMessages) call([max, ttl, ...append, ...rest.ids])
          else call([ttl])
        }
      },
    })
    for (const label of ['inbox.push 0', 'inbox.push 1', 'inbox.delete 0', 'inbox.delete 1'])
      expect(tally[label], label).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of announcements and their twins reply and publish alike`,
  async () => {
    const operations: Operation<any>[] = [
      addAnnouncement,
      withdrawAnnouncement,
      labelled(readAnnouncements),
      seeAnnouncements,
      labelled(readSeen),
    ]
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(addAnnouncement, addAnnouncement, ...operations),
      id: fc.constantFrom('a', 'b', 'c', 'd', 'E'),
      other: fc.constantFrom('a', 'b', 'c'),
      from: fc.constantFrom(0, 0, START, START + 7, START + 60),
      until: fc.constantFrom(0, START + 3, START + 50, START + 10_000),
      elapsed: fc.constantFrom(0, 0, 1, 5, 40, -3),
    })
    const tally = await differential({
      name: 'announcements',
      operations,
      step,
      channel,
      play(steps, id, run) {
        let now = START
        const box = `announced:{${id}}`
        const keys = [box, `${box}:until`, `${box}:messages`, `topic:{${id}}`]
        const append = [3, TTL, channel(id), 7]
        for (const { operation: called, elapsed, from, id: each, other, until } of steps) {
          now += elapsed
          const isSeen = called.name === 'inbox.see' || called.name === 'inbox.seen'
          const call = (args: (string | number)[]) =>
            run({ operation: called, keys: isSeen ? [`seen:{${id}}`] : keys, args, now })
          if (called === addAnnouncement) call([each, '"x"', from, until, 1000, 3, ...append])
          else if (called === withdrawAnnouncement) call([each, ...append])
          else if (called === seeAnnouncements)
            call([2, each, until || START + 20, other, until || START + 20])
          else call([])
        }
      },
    })
    for (const label of ['1', '0', '-1', '-2'].map((reply) => `inbox.announce ${reply}`))
      expect(tally[label], label).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of presence and their twins reply and publish alike`,
  async () => {
    const name = fc.constantFrom('"a"', '"b"', '"B"', '"ab"', '"ü"')
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(noteUsers, noteUsers, readOnline),
      users: fc.array(name, { minLength: 1, maxLength: 4 }),
      after: fc.oneof(fc.constant(''), name),
      limit: fc.constantFrom(1, 2, 100),
      elapsed: fc.constantFrom(0, 0, 1, 5, 40, -3),
    })
    const tally = await differential({
      name: 'presence',
      operations: [noteUsers, readOnline],
      step,
      channel,
      play(steps, id, run) {
        let now = START
        const box = `present:{${id}}`
        const keys = [box, `${box}:names`, `topic:{${id}}`]
        const append = [3, TTL, channel(id), 7]
        for (const { operation: called, after, elapsed, limit, users } of steps) {
          now += elapsed
          const args =
            called === noteUsers ? [50, 3, ...append, ...users] : [50, ...append, after, limit]
          run({ operation: called, keys, args, now })
        }
      },
    })
    for (const label of ['presence.beat 0', 'presence.beat 1', 'presence.online 0'])
      expect(tally[label], label).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of subscriptions and their twins reply alike`,
  async () => {
    const operations: Operation<any>[] = [addValues, removeValues, labelled(listValues)]
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(addValues, ...operations),
      values: fc.array(fc.constantFrom('a', 'B', 'ü', '0', 'ab'), { minLength: 1, maxLength: 3 }),
      elapsed: fc.constantFrom(0, 0, 1, 5, 40, -3),
    })
    const tally = await differential({
      name: 'subscriptions',
      operations,
      step,
      channel,
      play(steps, id, run) {
        let now = START
        for (const { operation: called, elapsed, values } of steps) {
          now += elapsed
          const isList = called !== addValues && called !== removeValues
          const more = isList ? [] : called === addValues ? [3, ...values] : values
          run({ operation: called, keys: [`set:{${id}}`], args: [50, ...more], now })
        }
      },
    })
    for (const label of ['subscriptions.add 0', 'subscriptions.add 1', 'subscriptions.remove 1'])
      expect(tally[label], label).toBeGreaterThan(0)
  },
  TIMEOUT,
)
