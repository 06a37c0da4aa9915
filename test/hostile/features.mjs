// What the application under attack offers: every feature, by path, the same on each framework.
import { Readable } from 'node:stream'
import { apiKeys, oneTimeTokens, refreshTokens } from 'turnpike/tokens'
import { counters, leaderboard, list, recent, suggestions, trending } from 'turnpike/collections'

/** Leases end soon after their last renewal, but what is never released is renewed for long. */
const LEASE = { lease: '2s', maxLease: '10m' }
const SECRET = 'a secret that is long enough 123'
/** All servers of the application accept these. */
const KEY_PREFIX = 'fuzz'

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const fieldOf = (native, name) => native.headers[name]

/** Repeats what a busy machine was too slow for. */
async function patiently(work) {
  for (let i = 0; ; i++)
    try {
      return await work()
    } catch (error) {
      if (i >= 20) throw error
      await sleep(100)
    }
}

/** What handlers did: how often each effect happened, and how often each path was reached. */
export class Records {
  /** By server and key. */
  effects = new Map()
  /** By server and path. */
  reached = new Map()
  /** Errors that a client or an absent Redis does not explain. */
  faults = []

  reach(label, path) {
    const key = `${label} ${path}`
    this.reached.set(key, (this.reached.get(key) ?? 0) + 1)
  }
  effect(label, key) {
    const effect = `${label} ${key}`
    this.effects.set(effect, (this.effects.get(effect) ?? 0) + 1)
  }
}

/** The extensions of an instance. */
function extensionsOf(tp) {
  const known = new Map()
  const keys = apiKeys(tp, {
    prefix: KEY_PREFIX,
    lookup: async (digest) => known.get(digest),
    near: '1s',
    missLimit: false,
  })
  return {
    known,
    keys,
    codes: oneTimeTokens(tp, { purpose: 'fuzz', ttl: '1h', cooldown: 0, addressLimit: 1e6 }),
    refresh: refreshTokens(tp, { grace: 0, maxPerUser: 1000 }),
    counters: counters(tp, 'counts', { flush: '50ms', ttl: '1m' }),
    board: leaderboard(tp, 'board'),
    tags: trending(tp, 'tags'),
    terms: suggestions(tp, 'terms'),
    searches: recent(tp, 'searches', { ttl: '1m' }),
    chat: list(tp, 'chat', { ttl: '1m' }),
  }
}

/** The middlewares of each path. */
function stacksOf(tp, { keys, codes }) {
  const limit = (name) => tp.rateLimit({ name, limit: 1_000_000, window: '1m' })
  const session = (near) => tp.session({ secret: SECRET, ttl: '10m', name: 'sid', near })
  const pay = (name) => tp.idempotency({ name, scope: () => 'me', ttl: '10m', wait: '20ms' })
  const user = (native) => native.session?.userId
  const own = { scope: (native) => user(native) ?? 'nobody', ttl: '1s', tags: ['own'] }
  const shared = { ttl: '1s', staleWhileRevalidate: '2s', public: true, tags: ['all'] }
  const concurrency = (name, most) => tp.concurrency({ name, limit: most, ...LEASE })
  return {
    '/session': [session()],
    '/me': [session(), tp.session.require()],
    '/signin': [session()],
    '/signout': [session()],
    '/login': [
      tp.loginGuard({ limit: 1000, addressLimit: 1e6, key: (native) => fieldOf(native, 'x-user') }),
    ],
    '/limit': [limit('limit')],
    '/cache': [tp.cache({ ...shared, near: true })],
    '/private': [session(), tp.cache(own)],
    '/invalidate': [tp.invalidate({ tags: ['own'] })],
    '/pay': [pay('pay')],
    '/exclusive': [tp.exclusive({ key: 'one', wait: '10ms', ...LEASE })],
    '/places': [concurrency('places', 5)],
    '/lock': [],
    '/data': [],
    '/key': [keys],
    '/code': [codes.guard({ code: (native) => fieldOf(native, 'x-code') })],
    '/refresh': [],
    '/collections': [],
    '/all': [tp.pipeline(session(), limit('all'), tp.cache(own))],
    // What needs no Redis while it is warm.
    '/warm': [
      tp.pipeline(
        session('1s'),
        tp.rateLimit({
          name: 'warm',
          limit: 1_000_000,
          window: '1m',
          key: () => 'all',
          lease: { for: '200ms' },
        }),
        tp.cache({ ...own, near: true }),
      ),
    ],
    '/everything': [
      tp.pipeline(
        session(),
        limit('everything'),
        keys,
        pay('everything'),
        concurrency('everything', 20),
      ),
    ],
  }
}

/** What handlers do before they answer, by path. `act` returns the text of the answer. */
function actionsOf(tp, label, records, extensions) {
  const { refresh, board, tags, terms, searches, chat, counters: counts } = extensions
  const key = (req, pattern) => {
    const sent = req.headers['idempotency-key'] ?? ''
    return pattern.test(sent) ? sent : undefined
  }
  const pay = async ({ req }) => {
    for await (const _ of req) {
      // The body is read to its end.
    }
    await sleep(Math.random() * 3)
    // A handler that throws frees its key, and so does a session that cannot be saved.
    const path = req.url.split('?', 1)[0]
    if (req.method !== 'POST' || path !== '/pay' || req.headers['x-do'] === 'throw') return
    const sent = key(req, /^k\d+-\d+$/)
    const host = req.headers.host ?? req.headers[':authority']
    if (sent !== undefined && host === 'shop') records.effect(label, `pay ${sent}`)
  }
  let locks = 0
  const inside = new Set()
  /** Work that requests of one path do one at a time, or a few at a time. */
  const together =
    (most) =>
    async ({ res }) => {
      const isThere = (each) => !each.destroyed && each.stream?.closed !== true
      const others = [...inside].filter((each) => each.most === most && isThere(each.res))
      if (isThere(res) && others.length >= most) records.effect(label, `inside ${most}`)
      const self = { most, res }
      inside.add(self)
      await sleep(Math.random() * 4)
      inside.delete(self)
    }
  return {
    '/signin': async ({ native, req }) => {
      const user = req.headers['x-user'] || 'nobody'
      if (native.session) await tp.session.login(native, user, { name: user })
    },
    '/signout': async ({ native }) => {
      if (native.session) await tp.session.logout(native)
    },
    '/pay': pay,
    '/everything': pay,
    '/exclusive': together(1),
    '/places': together(5),
    '/lock': ({ req }) =>
      tp.lock(`report-${locks++ >> 2}`, { lease: '2s', wait: '20ms' }, () =>
        sleep(Number(req.headers['x-user'] === 'ann')),
      ),
    '/data': async ({ req }) => {
      await tp.data.getOrFetch(`d${req.url.length % 7}`, async () => ({ n: 1 }), {
        ttl: '1s',
        tags: ['all'],
      })
    },
    '/code': async ({ req }) => records.effect(label, `code ${req.headers['x-code']}`),
    '/refresh': async ({ req }) => {
      await refresh.rotate(req.headers['x-code'])
      records.effect(label, `refresh ${req.headers['x-code']}`)
    },
    '/collections': async ({ req }) => {
      const id = `i${req.url.length % 5}`
      counts.add(id, { hits: 1 })
      await Promise.all([
        board.add(id, 1),
        tags.hit(id),
        terms.add(id),
        searches.push(id, String(req.headers['x-user'] || 'x').slice(0, 50)),
        chat.append(id, { url: req.url.slice(0, 100) }),
      ])
    },
  }
}

/** Creates what one instance offers. @param isBare offers the same paths without it */
export function createFeatures(tp, label, records, isBare) {
  const extensions = extensionsOf(tp)
  const stacks = stacksOf(tp, extensions)
  if (isBare) for (const path of Object.keys(stacks)) stacks[path] = []
  const actions = isBare ? {} : actionsOf(tp, label, records, extensions)
  for (const [event, types] of [
    ['cache', ['hit', 'near', 'stale', 'collapsed']],
    ['idempotency', ['replayed']],
  ])
    tp.on(event, ({ type, name }) => {
      if (types.includes(type)) records.reach(label, event === 'cache' ? 'a cached page' : name)
    })
  return {
    tp,
    stacks,
    /** Handles a request: `reply(status, body, pieces)` ends the response. */
    async handle(native, req, res, reply) {
      const path = `/${req.url.split(/[/?#]/)[1]}`
      records.reach(label, path)
      const { session } = native
      if (session) session.n = (session.n ?? 0) + 1
      await actions[path]?.({ native, req, res })
      const { 'x-do': wish = '' } = req.headers
      if (wish === 'throw') throw new Error('as the client wished')
      if (wish === 'slow') await sleep(Math.random() * 6)
      if (wish === 'leave') await sleep(25)
      // All clients share the idempotency keys, so their responses name no user.
      const user = path === '/everything' ? undefined : session?.name
      const text = `this is ${path} user=${user ?? 'nobody'};`
      if (wish === 'large') return reply(200, text + 'x'.repeat(60_000), 4)
      // A stream that is piped to a client that has left never ends the response: its key stays for maxLease.
      if (wish === 'pipe' && req.headers['idempotency-key'] === undefined)
        return reply(200, Readable.from([text, 'x'.repeat(100_000), 'end']))
      return reply(path === '/login' ? 401 : 200, text, wish === 'pieces' ? 3 : 1)
    },
    /** Makes credentials that exist. */
    async issue(count) {
      const made = { keys: [], codes: [], refresh: [] }
      for (let i = 0; i < 3; i++) {
        const { key, digest } = extensions.keys.generate()
        extensions.known.set(digest, { owner: 'ann', permissions: ['a'] })
        made.keys.push(key)
      }
      for (let i = 0; i < count; i++) {
        const [{ code }, { token }] = await Promise.all([
          patiently(() => extensions.codes.issue(`s${i}`)),
          patiently(() => extensions.refresh.issue(`s${i}`)),
        ])
        made.codes.push(code)
        made.refresh.push(token)
      }
      return made
    },
  }
}
