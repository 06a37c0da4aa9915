import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CONTEXT } from '../../src/extension.ts'
import {
  turnpike,
  type Idempotency,
  type NodeMiddleware,
  type SessionRequest,
} from '../../src/node.ts'
import type { TurnpikeOptions } from '../../src/turnpike.ts'
import { useCaching } from './acl-caching.ts'
import { useCollections } from './acl-collections.ts'
import { useControl } from './acl-control.ts'
import { useFlags } from './acl-flags.ts'
import { useOperations } from './acl-operations.ts'
import { useRealtime } from './acl-realtime.ts'
import { useTokens } from './acl-tokens.ts'
import { until } from './until.ts'

type Must = (what: string, holds: unknown) => void
/** Uses what a set of features asks of Redis, and throws at the first thing that does not work. Gives what it was warned of. */
type Flow = (redis: string, prefix: string) => Promise<string[]>

/** One instance for one flow, with the errors that it reports. */
const using =
  (
    use: (
      tp: Instance,
      must: Must,
      isBroken: () => boolean,
      redis: string,
      prefix: string,
    ) => Promise<void>,
    options: TurnpikeOptions<any> = {},
  ): Flow =>
  async (redis, prefix) => {
    const warnings: string[] = []
    await using tp = turnpike({
      redis,
      prefix,
      commandTimeout: 2000,
      requestBudget: 4000,
      // Reports have permissions of their own.
      operations: false,
      ...options,
    })
    tp.on('warning', ({ message }) => warnings.push(message))
    tp.on('error', ({ error }) => warnings.push(String(error)))
    await tp.ready('3s')
    const must: Must = (what, holds) => {
      if (!holds) throw new Error(`does not work: ${what}`)
    }
    await use(tp, must, () => warnings.length > 0, redis, prefix)
    return warnings
  }

/** What docs/store.md lists permissions for. */
export const flows: Record<string, Flow> = {
  'rate limits, login guard, health': using(useLimits, { tenant: () => 'acme' }),
  sessions: using((tp, must, isBroken, _redis, prefix) =>
    useSessions(tp, `${prefix}:old:`, must, isBroken),
  ),
  'idempotency keys, locks, semaphores': using((tp, must) => useLocks(tp, must)),
  'response cache, data': using((tp, must, isBroken, redis, prefix) =>
    useCaching(tp, redis, prefix, must, isBroken),
  ),
  'operations, which are on by default': using((tp, must) => useOperations(tp, must), {
    stores: { rateLimit: { redis: 'memory' } },
  }),
  'control, gate, bans': using((tp, must, isBroken, redis, prefix) =>
    useControl(tp, redis, prefix, must, isBroken),
  ),
  tokens: using((tp, must, isBroken) => useTokens(tp, must, isBroken)),
  collections: using((tp, must) => useCollections(tp, must)),
  'flags, maintenance, configuration': using((tp, must, isBroken, redis, prefix) =>
    useFlags(tp, redis, prefix, must, isBroken),
  ),
  realtime: using((tp, must) => useRealtime(tp, must)),
}

/** All of it. */
export async function useEverything(redis: string, prefix: string): Promise<string[]> {
  const warnings: string[] = []
  for (const use of Object.values(flows)) warnings.push(...(await use(redis, prefix)))
  return warnings
}

/** Limits by every algorithm, also of single subjects, with notifications to other processes, logins and health. */
async function useLimits(
  tp: Instance,
  must: Must,
  _isBroken: () => boolean,
  redis: string,
  prefix: string,
): Promise<void> {
  await using other = turnpike({ redis, prefix, commandTimeout: 2000 })
  await other.ready('3s')
  const mine = tp.forTenant('acme')
  for (const algorithm of ['sliding-window', 'gcra', 'fixed-window'] as const) {
    const limiter = mine.limiter(`all-${algorithm}`, {
      limit: 2,
      window: '1m',
      algorithm,
      fail: 'closed',
      blockFor: '1s',
    })
    const first = await limiter.consume('me')
    must('consume', first.source === 'store' && first.allowed)
    await first.refund()
    await limiter.consume('me', 2)
    must('refuse', !(await limiter.consume('me')).allowed)
    must('peek', !(await limiter.peek('me')).allowed)
    await limiter.block('me', '1m')
    must('reset', await limiter.reset('me'))
    must('forgotten', (await limiter.consume('me')).allowed)
    must('consume again', (await limiter.consume('me')).remaining === 0)
  }

  await mine.overrides.set('vip', { 'all-own': 5 })
  must('limits', (await mine.overrides.get('vip'))['all-own'] === 5)
  await mine.limiter('all-own', { limit: 1, window: '1m' }).consume('vip')
  must('limits deleted', await mine.overrides.delete('vip'))

  const denying = other.limiter('deny', { limit: 1, window: '1m', denyCache: true })
  const resetting = other.limiter('deny', { limit: 1, window: '1m' })
  await denying.consume('me')
  await denying.consume('me')
  must('deny cache', (await denying.consume('me')).source === 'deny-cache')
  await until(
    'a reset arrives',
    async () => {
      await resetting.reset('me')
      return (await denying.consume('me')).source === 'store'
    },
    2000,
  )

  const statuses = { '/login': 401, '/welcome': 200 } as Record<string, number>
  const guard = tp.loginGuard({ key: () => 'ann@example.org' })
  const health = tp.health()
  const server = createServer((req, res) => {
    const middleware: NodeMiddleware = statuses[req.url!] ? guard : health
    middleware(req, res, (error) => {
      res.statusCode = error ? 500 : statuses[req.url!]!
      res.end(String(error))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`)
  try {
    must('login refused', (await get('/login')).status === 401)
    must('login', (await get('/welcome')).status === 200)
    must('login refused again', (await get('/login')).status === 401)
    must('login reset', await guard.reset('ann@example.org', { tenant: 'acme' }))
    must('ready', (await get('/ready')).status === 200)
    const details = (await (await get('/health')).json()) as Record<string, unknown>
    must('health', details['status'] === 'healthy' && typeof details['version'] === 'string')
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

type Instance = ReturnType<typeof turnpike>

/** Locks and semaphores in fair order, one run, a request with a key that fails and is repeated. */
async function useLocks(tp: Instance, must: Must): Promise<void> {
  const fair = { fair: true, wait: '5s' } as const
  const held = await tp.lock.acquire('a', fair)
  const next = tp.lock('a', fair, () => 'next')
  // If the release is refused, no waiter retries this one.
  next.catch(() => {})
  await held.release()
  must('the next holder', (await next) === 'next')
  await tp.lock.acquire('b')
  must('a holder', (await tp.locks.holder('b'))?.pid === process.pid)
  must('a release by force', await tp.locks.release('b', { force: true }))
  must(
    'one run',
    (await tp.once('a', '1m', () => 1)).ran && !(await tp.once('a', '1m', () => 1)).ran,
  )
  const semaphore = tp.semaphore('a', { limit: 1, fair: true })
  must('a permit', (await semaphore.using({ wait: '5s' }, () => semaphore.count())) === 1)
  must('no holder', (await semaphore.holders()).length === 0)

  const guard = tp.idempotency({ scope: () => 'ann' })
  let runs = 0
  const server = createServer((req, res) => {
    guard(req, res, (error) => {
      const { idempotency } = req as typeof req & { idempotency?: Idempotency }
      const answer = (status: number): void => void res.writeHead(status).end('done')
      if (error || !idempotency) return answer(500)
      // oxlint-disable-next-line promise/no-promise-in-callback
      idempotency
        .step('charge', () => 1)
        .then(
          () => answer(++runs === 1 ? 500 : 201),
          () => answer(500),
        )
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const post = async (): Promise<number> =>
    (
      await fetch(`http://127.0.0.1:${port}/`, {
        method: 'POST',
        headers: { 'Idempotency-Key': 'k' },
      })
    ).status
  try {
    must('a request that fails', (await post()) === 500)
    must('is run again', (await post()) === 201)
    must('and answered again', (await post()) === 201 && runs === 2)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** Sessions: what is stored, renewed, listed, driven out and ended. */
async function useSessions(
  tp: Instance,
  legacyPrefix: string,
  must: Must,
  isBroken: () => boolean,
): Promise<void> {
  const session = tp.session({
    secret: 'a secret',
    cookie: { secure: false },
    maxPerUser: 2,
    touchAfter: 0,
    legacyPrefix,
    near: '1m',
  })
  const server = createServer((req, res) => {
    const work = async (): Promise<void> => {
      const { session } = req as SessionRequest
      if (req.url === '/in') await tp.session.login(req, 'ann')
      if (req.url === '/out') await tp.session.logout(req)
      if (req.url === '/add') Object.assign(session, { a: 1 })
      const { cookie: _, ...data } = session as { cookie?: unknown }
      res.end(JSON.stringify(data))
    }
    const refuse = (error: unknown): void => {
      res.statusCode = 500
      res.end(String(error))
    }
    // A save that fails calls this once more, with its error.
    session(req, res, (error) => {
      if (error) refuse(error)
      // oxlint-disable-next-line promise/no-promise-in-callback
      else work().catch(refuse)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  async function get(path: string, cookie = ''): Promise<{ text: string; cookie: string }> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } })
    const text = await response.text()
    if (response.status !== 200) throw new Error(text)
    return { text, cookie: response.headers.get('set-cookie')?.split(';')[0] ?? cookie }
  }
  try {
    const anonymous = await get('/add')
    const ann = await get('/in', anonymous.cookie)
    must('a session', (await get('/add', ann.cookie)).text.includes('"ann"'))
    const [before] = await tp.sessions.list('ann')
    await until('a touch', async () => {
      await get('/', ann.cookie)
      return isBroken() || (await tp.sessions.list('ann'))[0]!.lastSeen > before!.lastSeen
    })
    const { events } = tp[CONTEXT]('session')
    await until('a near read', async () => {
      await get('/', ann.cookie)
      const [loads] = events.counts.rows('sessionLoad')
      return isBroken() || loads!.values[loads!.outcomes.indexOf('near')]! > 0
    })
    for (let i = 0; i < 3; i++) await get('/in')
    must('one is driven out', (await tp.sessions.count('ann')) === 2)
    const last = await get('/in')
    await get('/out', last.cookie)
    must('an ended session is none', !(await get('/', last.cookie)).text.includes('"ann"'))
    must('all are ended', (await tp.sessions.revokeAll('ann')) === 1)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
