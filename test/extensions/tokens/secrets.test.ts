/** No token, and no part of one that is secret, stands in Redis, in an event, a log or an error. */
import { channel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { EVENTS, type EventName } from '../../../src/events.ts'
import { startRedis } from '../../../src/testing.ts'
import { apiKeys, oneTimeTokens, refreshTokens, type OneTimeTokens } from '../../../src/tokens.ts'
import { apps } from '../../support/apps.ts'
import { expectEveryKeyToExpire } from '../../support/ttl.ts'
import { until } from '../../support/until.ts'

const PEPPER = 'canary pepper that only the tests know'

/** Everything that stands in a Redis, as one string. */
async function dump(url: string): Promise<string> {
  const client = new Redis(url)
  try {
    const keys = await client.keys('*')
    const values = await Promise.all(
      keys.map(async (key) => {
        const type = await client.type(key)
        if (type === 'string') return [key, await client.get(key)]
        if (type === 'hash') return [key, await client.hgetall(key)]
        throw new Error(`${key} is a ${type}`)
      }),
    )
    return JSON.stringify(values)
  } finally {
    client.disconnect()
  }
}

test.each(apps)('$name: nothing that is secret is stored, told or logged', async ({ start }) => {
  await using redis = await startRedis()
  const told: string[] = []
  const note = (...all: unknown[]): void =>
    void told.push(
      ...all.map(
        (each) => `${inspect(each, { depth: 9, showHidden: true })} ${JSON.stringify(each)}`,
      ),
    )
  for (const name of Object.keys(EVENTS)) {
    const bus = channel(`turnpike:${name}`)
    bus.subscribe(note)
    onTestFinished(() => {
      bus.unsubscribe(note)
    })
  }
  vi.stubEnv('DEBUG', 'turnpike:*')
  for (const stream of [process.stderr, process.stdout])
    vi.spyOn(stream, 'write').mockImplementation((text) => (note(String(text)), true))
  vi.spyOn(process, 'emitWarning').mockImplementation((text) => note(String(text)))
  onTestFinished(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
  })

  const secrets: string[] = [PEPPER]
  let codes!: OneTimeTokens<any, any>
  let links!: OneTimeTokens<any, any>
  let keys!: ReturnType<typeof apiKeys<any, any, object>>
  let known = new Set<string>()
  const app = start({
    options: { redis: redis.url, commandTimeout: '5s', requestBudget: '5s' },
    mount(tp) {
      for (const name of Object.keys(EVENTS) as EventName[]) tp.on(name, note)
      codes = oneTimeTokens(tp, {
        purpose: 'code',
        format: 'letters:12',
        pepper: PEPPER,
        cooldown: 0,
      })
      links = oneTimeTokens(tp, { purpose: 'link', cooldown: 0 })
      keys = apiKeys<any, any, object>(tp, {
        lookup: (digest) => {
          if (digest === 'x') throw new Error('the database is away')
          return known.has(digest) ? { user: 'ann', permissions: ['a'] } : undefined
        },
        required: false,
      })
      return [
        keys,
        codes.guard({
          subject: (native: any) => native.headers['x-subject'],
          code: (native: any) => native.headers['x-code'],
        }),
      ]
    },
  })
  onTestFinished(() => app.tp.close())
  const refresh = refreshTokens(app.tp)
  /** What it returns is for the caller; what it throws may be logged. */
  const attempt = (work: () => Promise<unknown>): Promise<void> => work().then(() => {}, note)
  const answers: string[] = []
  const post = async (headers: Record<string, string>): Promise<void> => {
    const { text, headers: fields } = await app.post('/', headers)
    answers.push(text, JSON.stringify(fields))
  }

  /** One-time tokens in every state. */
  const used = (await codes.issue('ann@example.org', { data: 'data' })).code!
  const live = (await codes.issue('bob@example.org')).code!
  const burned = (await codes.issue('cat@example.org')).code!
  for (let i = 0; i < 6; i++) {
    const guess = used.replaceAll(/./g, 'BCDFGH'[i]!)
    secrets.push(guess)
    await attempt(() => codes.consume('cat@example.org', guess))
    await post({ 'x-subject': 'ann@example.org', 'x-code': guess })
  }
  await post({ 'x-subject': 'ann@example.org', 'x-code': used })
  await post({ 'x-subject': 'ann@example.org', 'x-code': used })
  const link = (await links.issue(['user', '7'])).code!
  const usedLink = (await links.issue(8)).code!
  await attempt(() => links.consume(null, usedLink))
  await attempt(() => links.consume(null, usedLink))
  await attempt(() => links.consume(null, `${link.slice(0, -1)}!`))
  // The part that is not secret tells whose it is.
  for (const each of [link, usedLink]) secrets.push(each, each.slice('once_'.length + 22))
  secrets.push(used, live, burned)

  /** Refresh tokens: exchanged, repeated, reused, revoked. */
  const first = await refresh.issue('ann', { data: { userAgent: 'laptop' } })
  const second = await refresh.rotate(first.token)
  await attempt(() => refresh.rotate(first.token))
  await attempt(() => refresh.rotate(second.token))
  await attempt(() => refresh.rotate(`${first.token}x`))
  const reusable = refreshTokens(app.tp, { name: 'strict', grace: 0 })
  const one = await reusable.issue('bob')
  const two = await reusable.rotate(one.token)
  await attempt(() => reusable.rotate(one.token))
  await attempt(() => reusable.rotate(two.token))
  await attempt(() => refresh.list('ann'))
  const revoked = await refresh.issue('cat')
  await attempt(() => refresh.revoke(revoked.token))
  for (const { token } of [first, second, one, two, revoked]) {
    const body = token.slice('refresh_'.length + 22)
    secrets.push(token, body.slice(0, 22), body.slice(22, 65))
  }

  /** API keys: accepted, unknown, revoked, malformed. */
  const made = Array.from({ length: 3 }, () => keys.generate())
  known = new Set([made[0]!.digest, made[1]!.digest])
  for (const { key } of made)
    for (const headers of [{ 'x-api-key': key }, { authorization: `Bearer ${key}` }])
      await post(headers)
  await keys.revoke(made[1]!.digest)
  await post({ 'x-api-key': made[1]!.key })
  await post({ 'x-api-key': `${made[0]!.key}x` })
  await attempt(() => keys.revoke(made[0]!.key))
  await until('uses are noted', async () => (await keys.lastUsed(made[0]!.digest)) !== undefined)
  for (const { key } of made) secrets.push(key, key.slice('key_'.length))

  const stored = await dump(redis.url)
  expect(stored.length).toBeGreaterThan(1000)
  expect(stored).toContain('laptop')
  /** Redis refuses everything: errors of the store, too. */
  await redis.send('ACL', 'SETUSER', 'default', '-@scripting')
  await attempt(() => codes.consume('bob@example.org', live))
  await attempt(() => refresh.rotate(second.token))
  await post({ 'x-api-key': made[2]!.key })
  await redis.send('ACL', 'SETUSER', 'default', '+@all')
  await redis.kill()
  await attempt(() => codes.consume('bob@example.org', live))
  await attempt(() => links.consume(null, link))
  await attempt(() => refresh.rotate(second.token))
  await post({ 'x-api-key': keys.generate().key })
  await redis.restart()
  await expectEveryKeyToExpire(redis)

  vi.restoreAllMocks()
  const places = {
    stored,
    told: told.join('\n'),
    answers: answers.join('\n'),
    errors: inspect(app.errors, { depth: 9 }),
  }
  expect(told.length).toBeGreaterThan(50)
  for (const type of [
    'issued',
    'consumed',
    'burned',
    'rotated',
    'repeated',
    'reused',
    'accepted',
    'revoked',
  ])
    expect(places.told).toContain(`"type":"${type}"`)
  for (const [place, text] of Object.entries(places)) {
    for (const secret of secrets) expect(text.includes(secret), `${secret} in ${place}`).toBe(false)
    // Whose code it is, is nobody's business either.
    if (place !== 'errors') expect(text).not.toContain('@example.org')
  }
})
