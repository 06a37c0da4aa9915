/**
 * The permissions that docs/store.md tells operators to grant: enough for everything, and not one
 * command too many.
 */
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { turnpike } from '../../src/node.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { flows, useEverything } from '../support/acl-flow.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { until } from '../support/until.ts'

/** Keys and channels of the prefix `shop`, with a version or without. */
const OWN = '~shop[:~]* &shop[:~]*'
/** Commands by feature, as docs/store.md lists them. */
const PUBLISHED = new Map(
  [
    ...readFileSync(new URL('../../docs/store.md', import.meta.url), 'utf8').matchAll(
      /^\| (.+?) \| (\+[a-z]+ \+.+) \|$/gm,
    ),
  ].map(([, what, commands]) => [what!, commands!.replaceAll('+', '').split(' ')]),
)
const COMMON = PUBLISHED.get('everything')!
const SETS = Object.keys(flows)
/** Commands that are sent seldom: one by an open breaker only, the other at the end of the process. */
const SELDOM = new Set(['ping', 'unsubscribe'])
const ruleOf = (commands: readonly string[]): string =>
  `${OWN} ${[...new Set(commands)].map((command) => `+${command}`).join(' ')}`
const leastFor = (set: string): string => ruleOf([...COMMON, ...(PUBLISHED.get(set) ?? [])])
const MINIMUM = ruleOf([...PUBLISHED.values()].flat())
/** The same permissions by category, which need no change with each version. */
const BY_CATEGORY = `${OWN} +@read +@write +@pubsub +@connection -@dangerous +eval +evalsha +time +info`

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
afterEach(async () => {
  server.thaw()
  await expectEveryKeyToExpire(server)
  await server.send('FLUSHALL')
})
afterAll(() => server.stop())

/** The URL of a user who has these permissions and no others. */
async function user(rules: string): Promise<string> {
  await server.send('ACL', 'LOG', 'RESET')
  const reply = await server.send(
    'ACL',
    'SETUSER',
    'app',
    'reset',
    'on',
    '>pw',
    ...rules.split(' '),
  )
  if (!reply.startsWith('+OK')) throw new Error(reply)
  return `redis://app:pw@${server.host}:${server.port}`
}

/** Commands, keys and channels that were refused. */
async function refused(): Promise<string[]> {
  const log = await server.send('ACL', 'LOG')
  return [...log.matchAll(/\r\nobject\r\n\$\d+\r\n([^\r]*)/g)].map(([, object]) => object!)
}

describe('the published permissions', () => {
  it.each([
    ['the minimum', MINIMUM],
    ['by category', BY_CATEGORY],
  ])('are enough for everything: %s', async (_name, rules) => {
    await server.send('SCRIPT', 'FLUSH')
    expect(await useEverything(await user(rules), 'shop')).toEqual([])
    expect(await refused()).toEqual([])
  })

  it('are enough with a version in the keys', async () => {
    const redis = await user(MINIMUM)
    await using tp = turnpike({ redis, prefix: 'shop', version: 7, commandTimeout: 2000 })
    expect((await tp.limiter('versioned', { limit: 1, window: '1m' }).consume('me')).source).toBe(
      'store',
    )
  })

  it('are enough for a database of its own, with SELECT', async () => {
    const redis = await user(`${MINIMUM} +select`)
    await using tp = turnpike({
      redis,
      prefix: 'shop',
      databases: { rateLimit: 2 },
      commandTimeout: 2000,
    })
    expect((await tp.limiter('elsewhere', { limit: 1, window: '1m' }).consume('me')).source).toBe(
      'store',
    )
  })

  it('are listed for every feature', () => {
    expect([...PUBLISHED.keys()]).toEqual(['everything', ...SETS])
  })

  describe.each(SETS)('for %s', (set) => {
    const use = flows[set]!

    it('are enough', async () => {
      await server.send('SCRIPT', 'FLUSH')
      expect(await use(await user(leastFor(set)), 'shop')).toEqual([])
      expect(await refused()).toEqual([])
    })

    const own = set === SETS[0] ? [...COMMON, ...PUBLISHED.get(set)!] : PUBLISHED.get(set)!
    it.each(own.filter((command) => !SELDOM.has(command)))(
      'do not contain %s in vain',
      async (command) => {
        const redis = await user(`${leastFor(set)} -${command}`)
        await server.send('SCRIPT', 'FLUSH')
        const outcome = await use(redis, 'shop').catch((error: Error) => [error.message])
        expect(outcome).not.toEqual([])
        expect(await refused()).toContain(command)
        // A script that is stopped half-way is not undone: without PEXPIRE it may leave what it has just set.
        await server.send('FLUSHALL')
      },
    )
  })

  it('do not let turnpike leave its prefix', async () => {
    const redis = await user(MINIMUM)
    await using tp = turnpike({ redis, prefix: 'other', commandTimeout: 2000 })
    const { consume } = tp.limiter('stray', { limit: 1, window: '1m' })
    await expect(consume('me')).rejects.toMatchObject({
      code: 'TP_COMMAND',
      message: expect.stringMatching(/NOPERM.*docs\/store\.md/),
    })
  })
})

describe('a missing permission', () => {
  it('is reported with its remedy, and lets no request pass', async () => {
    const redis = await user(`${MINIMUM} -time`)
    await using tp = turnpike({ redis, prefix: 'shop', commandTimeout: 2000 })
    const { consume } = tp.limiter('clockless', { limit: 1, window: '1m', fail: 'open' })
    for (let i = 0; i < 10; i++) {
      await expect(consume('me')).rejects.toMatchObject({
        code: 'TP_COMMAND',
        message: expect.stringContaining('docs/store.md'),
      })
    }
    expect(tp.status()).toMatchObject({ status: 'ok', breaker: 'closed' })
  })

  it('to subscribe is reported once, and causes no repeated connections', async () => {
    const redis = await user(`${MINIMUM} -subscribe`)
    await using tp = turnpike({ redis, prefix: 'shop', commandTimeout: 2000 })
    const warnings: string[] = []
    tp.on('warning', ({ message }) => warnings.push(message))
    const limiter = tp.limiter('deaf', { limit: 1, window: '1m', denyCache: true })
    await until('it warns', () => warnings.length > 0)
    const connections = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await server.send('INFO', 'stats'))![1])
    const before = await connections()
    await new Promise((resolve) => setTimeout(resolve, 500))
    // Our own INFO is one.
    expect((await connections()) - before).toBe(1)
    expect(warnings).toEqual([expect.stringContaining('docs/store.md')])
    expect(tp.status().warnings).toEqual(warnings)
    expect((await limiter.consume('me')).source).toBe('store')
  })

  it('to PING does not keep the breaker open', async () => {
    const redis = await user(`${MINIMUM} -ping`)
    await using tp = turnpike({ redis, prefix: 'shop', commandTimeout: 100 })
    await tp.ready()
    const limiter = tp.limiter('pingless', { limit: 1000, window: '1m' })
    await until('it counts', async () => (await limiter.consume('me')).source === 'store')
    server.freeze()
    await until('the breaker opens', async () => {
      await limiter.consume('me')
      return tp.status().breaker !== 'closed'
    })
    server.thaw()
    await until('it is well again', () => tp.status().status === 'ok', 1500)
  })
})
