/** Careless callers: every method of every extension, with values that nobody wrote down, on both engines. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  counters,
  leaderboard,
  list,
  recent,
  suggestions,
  trending,
} from '../../src/collections.ts'
import { flags, maintenance, openFeatureProvider } from '../../src/flags.ts'
import { jobs } from '../../src/jobs.ts'
import { turnpike } from '../../src/node.ts'
import { channels, inbox, presence, progress, sse, subscriptions } from '../../src/realtime.ts'
import { startRedis, testStore, type RedisServer } from '../../src/testing.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../src/tokens.ts'

const circle: Record<string, unknown> = {}
circle['itself'] = circle

/** Returns a list whose last item is a hole. */
function sparse(list: string[]): string[] {
  list.length++
  return list
}

const VALUES: Record<string, unknown> = {
  undefined: undefined,
  null: null,
  'an empty string': '',
  'a hash tag': 'a}:{b:c',
  NUL: 'a\0b',
  'a lone surrogate': 'a\ud800',
  '10 kB': 'x'.repeat(10_240),
  '10 kB of escapes': '\u20ac:@?'.repeat(2560),
  __proto__: '__proto__',
  NaN: Number.NaN,
  'minus zero': -0,
  '1e21': 1e21,
  'a negative number': -1,
  'a fraction': 0.5,
  'an unsafe integer': 2 ** 53,
  'a bigint': 10n,
  'no date': new Date(Number.NaN),
  'a circle': circle,
  'a function': () => 1,
  'a map': new Map([['a', 1]]),
  bytes: Buffer.from('abc'),
  'no prototype': Object.create(null),
  'a symbol': Symbol('a'),
  'a list of holes': sparse([]),
  'a list with a hole': sparse(['v']),
  'a deep list': JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`),
  'a tenant that is null': { tenant: null },
  'a tenant that is a number': { tenant: 5 },
  'a tenant without a name': { tenant: '' },
}

type Call = readonly [name: string, call: (...given: any[]) => unknown, valid: readonly unknown[]]

function callsOf(tp: any): Call[] {
  const count = counters(tp, 'count', { flush: 0 })
  const board = leaderboard(tp, 'board')
  const large = leaderboard(tp, 'large', { scores: 'string', period: 'week' })
  const [trend, words] = [trending(tp, 'trend'), suggestions(tp, 'words')]
  const [last, chat] = [recent(tp, 'last'), list(tp, 'chat')]
  const live: any = channels(tp)
  const [mails, users, tasks] = [inbox(live), presence(live), progress(live)]
  const followed = subscriptions(tp)
  const stream: any = sse(live, { topics: () => 'a' })
  const [code, link] = [
    oneTimeTokens(tp, { purpose: 'code', format: 'digits:6', cooldown: 0, pepper: 'p'.repeat(32) }),
    oneTimeTokens(tp, { purpose: 'link', cooldown: 0 }),
  ]
  const refresh = refreshTokens(tp)
  const keys: any = apiKeys(tp, { lookup: () => undefined })
  const feature: any = flags(tp, { defaults: { on: false, text: 'a' } })
  const provider = openFeatureProvider(feature)
  const closed: any = maintenance(tp)
  const queue: any = jobs(tp)
  queue.define('note', { retries: 0 }, () => 1)
  const digest = 'a'.repeat(64)
  const returned = async (subscription: any): Promise<void> => void (await subscription.return())
  return [
    ['counters.add', count.add, ['a', { n: 1 }, {}]],
    ['counters.get', count.get, ['a', {}]],
    ['counters.reset', count.reset, ['a', {}]],
    ['leaderboard.add', board.add, ['a', 1, {}]],
    ['leaderboard.set', board.set, ['a', 1, {}]],
    ['leaderboard.top', board.top, [5, {}]],
    ['leaderboard.top of a season', (season, offset) => large.top(5, { season, offset }), [0, 0]],
    ['leaderboard.rank', board.rank, ['a', {}]],
    ['leaderboard.around', board.around, ['a', 2, {}]],
    ['leaderboard.remove', board.remove, ['a', {}]],
    ['leaderboard.add as a string', large.add, ['a', '1', {}]],
    ['trending.hit', trend.hit, ['a', {}]],
    ['trending.hit with a weight', (weight) => trend.hit('a', { weight }), [1]],
    ['trending.top', trend.top, [5, {}]],
    ['trending.remove', trend.remove, ['a', {}]],
    ['suggestions.add', words.add, ['a', {}]],
    ['suggestions.complete', words.complete, ['a', 5, {}]],
    ['suggestions.remove', words.remove, ['a', {}]],
    ['recent.push', last.push, ['a', 'b', {}]],
    ['recent.list', last.list, ['a', {}]],
    ['recent.remove', last.remove, ['a', 'b', {}]],
    ['recent.clear', last.clear, ['a', {}]],
    ['list.append', chat.append, ['a', 'b', {}]],
    ['list.last', chat.last, ['a', 5, {}]],
    ['channels.publish', live.publish, ['a', 1, {}]],
    ['channels.subscribe', (...given: [any, any]) => returned(live.subscribe(...given)), ['a', {}]],
    ['inbox.push', mails.push, ['ann', 1, {}]],
    ['inbox.push with an ID', (id) => mails.push('ann', 1, { id }), ['a']],
    ['inbox.page', mails.page, ['ann', {}]],
    [
      'inbox.page after a cursor',
      (cursor, limit) => mails.page('ann', { cursor, limit }),
      ['5', 5],
    ],
    ['inbox.unread', mails.unread, ['ann', {}]],
    ['inbox.read', mails.read, ['ann', ['a'], {}]],
    ['inbox.readUpTo', mails.readUpTo, ['ann', 'a', {}]],
    ['inbox.delete', mails.delete, ['ann', ['a'], {}]],
    ['inbox.readAnnouncements', mails.readAnnouncements, ['ann', {}]],
    ['inbox.withdraw', mails.withdraw, ['a', {}]],
    ['presence.isOnline', users.isOnline, ['ann', {}]],
    ['presence.online', (cursor, limit) => users.online({ cursor, limit }), ['ann', 5]],
    ['presence.count', users.count, [{}]],
    [
      'presence.connection',
      (...given: [any, any]) => users.connection(...given).close(),
      ['ann', {}],
    ],
    ['progress.of', (...given: [any, any]) => void tasks.of(...given), ['a', {}]],
    ['progress.set', (percent, cost) => tasks.of('a').set(percent, { cost }), [5, 1]],
    ['progress.step', (...given: [any, any]) => tasks.of('a').step(...given), ['a', {}]],
    ['progress.fail', (...given: [any, any]) => tasks.of('b').fail(...given), ['a', {}]],
    ['subscriptions.add', followed.add, ['ann', ['a'], {}]],
    ['subscriptions.remove', followed.remove, ['ann', ['a'], {}]],
    ['subscriptions.list', followed.list, ['ann', {}]],
    ['sse.end', stream.end, ['ann', {}]],
    ['oneTimeTokens.issue', code.issue, ['ann', {}]],
    ['oneTimeTokens.issue with data', (data) => link.issue('ann', { data }), [1]],
    ['oneTimeTokens.consume', code.consume, ['ann', '123456', {}]],
    ['oneTimeTokens.consume of a link', link.consume, [null, 'a', {}]],
    ['oneTimeTokens.peek', code.peek, ['ann', '123456', {}]],
    ['oneTimeTokens.revoke', code.revoke, ['ann', {}]],
    ['refreshTokens.issue', refresh.issue, ['ann', {}]],
    ['refreshTokens.rotate', refresh.rotate, ['a', {}]],
    ['refreshTokens.revoke', refresh.revoke, ['a', {}]],
    ['refreshTokens.revokeFamily', refresh.revokeFamily, ['ann', 'a', {}]],
    ['refreshTokens.revokeUser', refresh.revokeUser, ['ann', {}]],
    ['refreshTokens.list', refresh.list, ['ann', {}]],
    ['apiKeys.digest', keys.digest, ['a']],
    ['apiKeys.revoke', keys.revoke, [digest, {}]],
    ['apiKeys.invalidate', keys.invalidate, [digest, {}]],
    ['apiKeys.lastUsed', keys.lastUsed, [digest, {}]],
    ['flags.enabled', feature.enabled, ['on', {}]],
    ['flags.set', feature.set, ['on', true, {}]],
    ['flags.set a rule', (users, from) => feature.set('on', { users, from }), [['ann'], 1]],
    ['flags.get', feature.get, ['on']],
    ['flags.reset', feature.reset, ['on', {}]],
    ['flags.audit', feature.audit, [{}]],
    ['OpenFeature', provider.resolveBooleanEvaluation, ['on', false, {}]],
    ['maintenance.off', closed.off, [{}]],
    ['jobs.add', queue.add.bind(queue), ['note', 1, {}]],
    [
      'jobs.add later',
      (wait, at, id) => queue.add('note', 1, { in: wait, at, id }),
      [1, undefined, 'a'],
    ],
    ['jobs.addMany', queue.addMany.bind(queue), [[{ task: 'note' }]]],
    ['jobs.flow', (children) => queue.flow({ task: 'note', children }), [[{ task: 'note' }]]],
    ['jobs.get', queue.get.bind(queue), ['a', {}]],
    ['jobs.remove', queue.remove.bind(queue), ['a', {}]],
    ['jobs.failed.list', (offset, limit) => queue.failed.list({ offset, limit }), [0, 5]],
    ['jobs.failed.retry', queue.failed.retry, ['a', {}]],
  ]
}

/** What a call came to: `done`, the code of an error, or an error without one. */
async function outcomeOf(call: Call[1], given: readonly unknown[]): Promise<string> {
  try {
    await call(...given)
    return 'done'
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string }
    return code ?? `no code: ${message}`
  }
}

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

test.each([false, true])(
  'every call ends with a result or an error that says what to do, alike on both engines. Tenants: %s',
  { timeout: 60_000 },
  async (hasTenants) => {
    const options = { logger: false, ...(hasTenants && { tenant: () => 'acme' }) } as const
    const commandTimeout = '10s'
    const instances = [
      turnpike({ store: testStore(), ...options }),
      turnpike({ redis: redis.url, commandTimeout, prefix: `careless-${hasTenants}`, ...options }),
    ]
    await Promise.all(instances.map((tp) => tp.ready()))
    const [inProcess, onRedis] = instances.map((tp) => callsOf(tp)) as [Call[], Call[]]
    const wrong: string[] = []
    for (const [i, [name, call, valid]] of inProcess.entries())
      for (const place of valid.keys())
        for (const [what, value] of Object.entries(VALUES)) {
          const given = valid.map((each) => (hasTenants && isEmpty(each) ? { tenant: 't' } : each))
          given[place] = value
          const outcomes = [await outcomeOf(call, given), await outcomeOf(onRedis[i]![1], given)]
          const isAlike = outcomes[0] === outcomes[1] && !outcomes[0]!.startsWith('no code')
          if (!isAlike) wrong.push(`${name}, argument ${place}, ${what}: ${outcomes.join(' / ')}`)
        }
    expect(wrong).toEqual([])
    await Promise.all(instances.map((tp) => tp.close()))
  },
)

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0
