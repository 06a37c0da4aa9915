/** The commands that change something: what they change, that they ask before, and that it is noted. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { until } from '../support/until.ts'
import request from 'supertest'
import {
  INSTALLATIONS,
  populate,
  SECRET,
  type Installation,
  type Populated,
} from './application.ts'
import { answer, turnpike, type Ran } from './support.ts'

let server: RedisServer
let app: Populated
const env = { SESSION_SECRET: SECRET }
const common = (): string[] => ['--redis', server.url, '--prefix', 'shop']
const run = (line: string[], given: object = {}): Promise<Ran> =>
  turnpike([...line, ...common()], { env, ...given })
const ask = (line: string[]): ReturnType<typeof answer> => answer([...line, ...common()], { env })
const digest = (): Promise<string> => server.send('DEBUG', 'DIGEST')

/** An idempotency key whose process was killed. */
async function makeStuckKey(to: RedisServer, id: string, leaseEnds: number): Promise<void> {
  const key = `shop:idempotency:{${id}}`
  const claim = `p${'f'.repeat(43)}owner`
  await to.send('HSET', key, 'f', claim, 'l', `${Date.now() + 600_000} ${leaseEnds} 1000 2`)
  await to.send('EXPIRE', key, '600')
}

beforeAll(async () => {
  // Nothing may change the data but the commands: the reports of the process stand still.
  server = await startRedis({ args: ['--enable-debug-command', 'yes'] })
  app = await populate({ redis: server.url }, '20s')
  await app.report()
  await makeStuckKey(server, 'pay:stuck', Date.now() - 120_000)
  const rules = 'shop:operations:rules:{all}'
  await server.send('HSET', rules, 'a:198.51.100.7', '1 0 {"effect":"deny"}', '!', '1.x')
  await server.send('EXPIRE', rules, '600')
  await ask(['maintenance', 'on', '--yes'])
})
afterAll(async () => {
  await app.close()
  await server.stop()
})

/** A command line for each command that changes something. */
async function linesOf(
  place: (line: string[]) => ReturnType<typeof answer>,
): Promise<Record<string, string[]>> {
  const { data } = await place(['sessions', 'bob', '--scan'])
  return {
    mode: ['unused', 'shadow', '--reason', 'a test'],
    allow: ['203.0.113.7', '--reason', 'a test'],
    block: ['203.0.113.0/24', '--reason', 'a test'],
    unblock: ['198.51.100.7', '--reason', 'a test'],
    'cache clear': [],
    'cache purge': ['--tag', 'products'],
    'idempotency release': ['pay:stuck'],
    'limits block': ['ada', '--for', '1h'],
    'limits reset': ['ada'],
    'locks break': ['nightly'],
    'maintenance off': [],
    'maintenance on': ['--retry-after', '10m', '--detail', 'We move.'],
    'sessions revoke': [data.sessions[0].handle],
    'sessions revoke-all': ['ada', '--secret-env', 'SESSION_SECRET'],
  }
}

const writing = COMMANDS.filter(({ redis }) => redis === 'write')

it('has a line for each command that changes something', async () => {
  expect(Object.keys(await linesOf(ask)).toSorted()).toEqual(
    writing.map(({ name }) => name).toSorted(),
  )
})

describe.each(writing)('$name', ({ name }) => {
  const line = async (): Promise<string[]> => [...name.split(' '), ...(await linesOf(ask))[name]!]

  it('changes nothing without a terminal and --yes, and says what it would do', async () => {
    const before = await digest()
    const { code, stdout, stderr } = await run(await line())
    expect({ code, stdout }).toEqual({ code: 5, stdout: '' })
    expect(stderr).toMatch(
      /^(Allow|Begin|Block|Unblock|Release|Invalidate|Forget|End|Set) .*Nothing was changed: /s,
    )
    expect(await ask(await line())).toMatchObject({ code: 5, error: { code: 'confirmation' } })
    expect(await digest()).toBe(before)
  })

  it('changes nothing with --dry-run, also with --yes', async () => {
    const before = await digest()
    const { code, data } = await ask([...(await line()), '--dry-run', '--yes'])
    expect({ code, data }).toMatchObject({ code: 0, data: { changed: false } })
    expect(data.plan.length).toBeGreaterThan(0)
    expect(await digest()).toBe(before)
  })

  it('changes nothing for a person who says no', async () => {
    const before = await digest()
    const { code } = await run(await line(), { ask: async () => 'no' })
    expect(code).toBe(5)
    expect(await digest()).toBe(before)
  })

  it('has no effect for a viewer', async () => {
    const { data } = await answer(['acl', 'viewer', '--prefix', 'shop'])
    await server.send(...((data.line as string).replace('>PASSWORD', '>pw').split(' ') as [string]))
    const before = await digest()
    const redis = `redis://viewer:pw@127.0.0.1:${server.port}`
    const { code } = await turnpike(
      [...(await line()), '--yes', '--redis', redis, '--prefix', 'shop'],
      { env },
    )
    expect(code).toBe(4)
    expect(await digest()).toBe(before)
  })
})

it('a change that concerns many wants its name typed', async () => {
  for (const [line, name] of [
    [['block', '10.0.0.0/8', '--reason', 'a test'], '10.0.0.0/8'],
    [['mode', 'unused', 'closed', '--reason', 'a test'], 'unused'],
    [['cache', 'clear'], 'shop'],
    [['cache', 'purge', '--pattern', '/none/*'], '/none/*'],
    [['sessions', 'revoke-all', 'nobody', '--secret-env', 'SESSION_SECRET'], 'nobody'],
  ] as const) {
    const questions: string[] = []
    const say = (word: string) => ({
      ask: async (question: string) => {
        questions.push(question)
        return word
      },
    })
    expect((await run([...line], say('yes'))).code).toBe(5)
    expect((await run([...line], say(name))).code).toBe(0)
    expect(questions[0]).toContain(name)
  }
})

describe.each(['standalone', 'databases', 'Cluster'])('on %s, as an operator', (kind) => {
  let place: Installation
  let own: Populated
  const go = (line: string[]): ReturnType<typeof answer> =>
    answer([...line, ...place.args, '--prefix', 'shop'], { env: { ...place.env, ...env } })

  beforeAll(async () => {
    place = await INSTALLATIONS[kind]!()
    own = await populate(place.options, '1s')
    await own.report()
  }, 60_000)
  afterAll(async () => {
    await own?.close()
    await place?.stop()
  })

  it('a lock is broken under the token that was shown, and its holder learns it', async () => {
    const { code, data } = await go([
      'locks',
      'break',
      'nightly',
      '--yes',
      '--as',
      'ann',
      '--reason',
      'it hangs',
    ])
    expect({ code, data }).toMatchObject({ code: 0, data: { changed: true, released: true } })
    expect((await go(['locks', 'nightly'])).data.held).toEqual([])
    expect(await go(['locks', 'break', 'nightly', '--yes'])).toMatchObject({
      code: 1,
      data: { changed: false },
    })
  })

  it("a session ends by its handle, and all of a user's by the secret", async () => {
    const list = async (user: string): Promise<any[]> =>
      (await go(['sessions', user, '--scan'])).data.sessions
    const [{ handle }] = await list('ada')
    expect((await go(['sessions', 'revoke', handle, '--yes'])).data.revoked).toBe(true)
    expect((await list('ada')).map((each) => each.handle)).not.toContain(handle)
    expect(
      await go(['sessions', 'revoke-all', 'ada', '--yes', '--secret-env', 'SESSION_SECRET']),
    ).toMatchObject({
      code: 0,
      data: { count: 1 },
    })
    expect(await list('ada')).toEqual([])
    expect(await list('bob')).toHaveLength(1)
  })

  it('a limit forgets a subject, and the limiter admits it again', async () => {
    for (let i = 0; i < 3; i++) await request(own.url).get('/limited')
    await request(own.url).get('/limited').expect(429)
    const { code, data } = await go(['limits', 'reset', '127.0.0.1', '--name', 'web', '--yes'])
    expect({ code, data }).toMatchObject({ code: 0, data: { changed: true, count: 1 } })
    await request(own.url).get('/limited').expect(200)
    expect((await own.peek()).remaining).toBe(4)
    expect((await go(['limits', 'reset', 'ada', '--yes'])).data.count).toBe(1)
    expect((await own.peek()).remaining).toBe(5)
    expect(await go(['limits', 'reset', 'never-seen', '--yes'])).toMatchObject({ code: 1 })
  })

  it('a limit refuses a blocked subject at once, until the block ends or is reset', async () => {
    await go(['limits', 'reset', '127.0.0.1', '--yes'])
    await request(own.url).get('/limited').expect(200)
    const line = ['limits', 'block', '127.0.0.1', '--for', '1h', '--name', 'web', '--yes']
    expect((await go(line)).data).toMatchObject({ changed: true, count: 1 })
    const refused = await request(own.url).get('/limited').expect(429)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3500)
    const { data } = await go(['limits', 'show', '127.0.0.1'])
    const web = data.limits.find(({ limit }: any) => limit === 'web')
    expect(web.state).toMatchObject({ isBlocked: true, remaining: 0 })
    expect((await go(['limits', 'reset', '127.0.0.1', '--yes'])).data.count).toBe(1)
    await request(own.url).get('/limited').expect(200)
  })

  it('a blocked address is refused by the application, until it is unblocked', async () => {
    const status = async (): Promise<number> => (await request(own.url).get('/limited')).status
    const why = ['--reason', 'a flood', '--as', 'ann', '--yes']
    const line = ['block', '::ffff:127.0.0.1', '--for', '1h', ...why]
    expect(await go(line)).toMatchObject({
      code: 0,
      data: { changed: true, target: '127.0.0.1' },
    })
    await until('it is refused', async () => (await status()) === 403)
    expect((await go(['rules'])).data.rules).toMatchObject([
      { target: '127.0.0.1', effect: 'deny', by: 'ann', reason: 'a flood' },
    ])
    expect(await go(['unblock', '127.0.0.1', ...why])).toMatchObject({
      code: 0,
      data: { lifted: true },
    })
    await until('it is admitted', async () => (await status()) !== 403)
    expect(await go(['unblock', '127.0.0.1', ...why])).toMatchObject({
      code: 1,
      data: { changed: false },
    })
    expect((await go(['rules'])).data.rules).toEqual([])
  })

  it('cached responses are made again after a purge by URL, tag and pattern, and after a clear', async () => {
    for (const line of [
      ['purge', '--url', '/products/1'],
      ['purge', '--tag', 'products'],
      ['purge', '--pattern', '/products/*'],
      ['clear'],
    ]) {
      await request(own.url).get('/products/1').expect(200)
      const made = own.made()
      await request(own.url).get('/products/1').expect(200)
      expect(own.made()).toBe(made)
      expect((await go(['cache', ...line, '--yes'])).code).toBe(0)
      await request(own.url).get('/products/1').expect(200)
      expect(own.made()).toBe(made + 1)
    }
  })

  it('maintenance is switched in a running process, which says why and for how long', async () => {
    const switched = (status: number) =>
      until(`it answers ${status}`, async () => {
        const answer = await request(own.url).get('/closed')
        return answer.status === status ? answer : undefined
      })
    await request(own.url).get('/closed').expect(200)
    expect(await go(['maintenance', 'off', '--yes'])).toMatchObject({
      code: 1,
      data: { changed: false },
    })
    const on = ['maintenance', 'on', '--retry-after', '10m', '--detail', 'We move.', '--as', 'ann']
    expect(await go([...on, '--yes'])).toMatchObject({ code: 0, data: { changed: true, on: true } })
    const { body, headers } = await switched(503)
    expect(headers['retry-after']).toBe('600')
    expect(body).toMatchObject({ status: 503, detail: 'We move.' })
    await request(own.url).get('/products/1').expect(200)
    const { data } = await go(['maintenance', 'off', '--dry-run'])
    expect(data.plan.join(' ')).toMatch(/It is on now, since .*Z, by ann\.$/)
    await request(own.url).get('/closed').expect(503)
    expect((await go(['maintenance', 'off', '--name', 'other', '--yes'])).code).toBe(1)
    expect((await go(['maintenance', 'off', '--yes'])).data).toMatchObject({ on: false })
    await switched(200)
  })

  it('each change is noted with who and why', async () => {
    const { code, data } = await go(['audit'])
    expect(code).toBe(0)
    expect(data.entries.at(-1)).toMatchObject({
      by: 'ann',
      reason: 'it hangs',
      action: 'locks break',
      subject: 'nightly',
    })
    const actions = data.entries.map(({ action }: any) => action)
    for (const action of [
      'deny',
      'lift',
      'cache clear',
      'limits block',
      'cache purge',
      'limits reset',
      'maintenance off',
      'maintenance on',
      'sessions revoke',
      'sessions revoke-all',
    ])
      expect(actions).toContain(action)
    for (const { at } of data.entries) expect(Math.abs(at - Date.now())).toBeLessThan(120_000)
  })
})

it('a stuck idempotency key is released, and one that runs only with --force', async () => {
  expect((await ask(['idempotency', 'find', '--state', 'stuck'])).data.records).toMatchObject([
    { id: 'pay:stuck', attempts: 2 },
  ])
  expect((await ask(['idempotency', 'release', 'pay:stuck', '--yes'])).data).toMatchObject({
    released: true,
  })
  expect((await ask(['idempotency', 'show', 'pay:stuck'])).code).toBe(1)
  await makeStuckKey(server, 'pay:runs', Date.now() + 60_000)
  expect(await ask(['idempotency', 'release', 'pay:runs', '--yes'])).toMatchObject({
    code: 2,
    error: { message: expect.stringContaining('still runs') },
  })
  expect(
    (await ask(['idempotency', 'release', 'pay:runs', '--yes', '--force'])).data.released,
  ).toBe(true)
})

it('what a stranger has stored as the switch of maintenance can be replaced', async () => {
  const key = 'shop:flags:document:{maintenance-broken}'
  for (const stored of ['on', '1.x null', '1.x {"on":"no"}', '1.x {', '']) {
    await server.send('SET', key, stored, 'PX', '60000')
    expect((await ask(['maintenance', 'off', '--name', 'broken', '--yes'])).code).toBe(1)
    const line = ['maintenance', 'on', '--name', 'broken', '--as', 'x'.repeat(500), '--yes']
    expect((await ask(line)).data).toMatchObject({ changed: true, on: true })
    expect(await server.send('GET', key)).toContain(`"by":"${'x'.repeat(200)}"`)
  }
  await server.send('DEL', key)
})

it("an operator's permissions suffice for every change", async () => {
  const { data } = await answer(['acl', 'operator', '--prefix', 'shop'])
  await server.send(...((data.line as string).replace('>PASSWORD', '>pw').split(' ') as [string]))
  const redis = `redis://operator:pw@127.0.0.1:${server.port}`
  await makeStuckKey(server, 'pay:stuck', Date.now() - 120_000)
  const lines = await linesOf(ask)
  for (const { name } of writing) {
    const line = [
      ...name.split(' '),
      ...lines[name]!,
      '--yes',
      '--redis',
      redis,
      '--prefix',
      'shop',
    ]
    const { code, data, error, warnings } = await answer(line, { env })
    expect({ name, code, error, warnings, changed: data?.changed }).toEqual({
      name,
      code: 0,
      error: undefined,
      warnings: [],
      changed: true,
    })
  }
  await until(
    'it is noted',
    async () => (await ask(['audit'])).data.entries.length >= writing.length,
  )
})

it.each([
  [['cache', 'purge'], 'takes one of --url, --tag and --pattern'],
  [['cache', 'purge', '--url', '/a', '--tag', 'b'], 'takes one of'],
  [['cache', 'purge', '--url', '/a', '--soft'], '--soft goes with --tag'],
  [['sessions', 'revoke', 'x'], 'is no handle'],
  [['sessions', 'revoke-all', 'ada'], '--secret-env'],
  [['locks', 'break', ''], 'is no name'],
  [['locks', 'break', 'a::b'], 'is no name'],
  [['idempotency', 'release', '{x}'], 'is no ID'],
  [['cache', 'clear', '--reason', ' '], '--reason must be'],
  [['block', 'ada', '--reason', 'x'], 'is no address and no network'],
  [['block', '10.0.0.0/33', '--reason', 'x'], 'is no address and no network'],
  [['block', '203.0.113.7'], 'Pass --reason'],
  [['allow', '203.0.113.7', '--reason', 'x', '--for', '1 hour'], '--for must be a duration'],
  [['unblock', '203.0.113.7'], 'Pass --reason'],
  [['mode', 'web', 'shadows', '--reason', 'x'], 'Did you mean shadow'],
  [['mode', 'a b', 'off', '--reason', 'x'], 'is no name of a limit'],
  [['mode', 'web', 'off'], 'Pass --reason'],
  [['mode', 'web', 'default', '--reason', 'x', '--for', '1h'], '--for does not go'],
  [['limits', 'block', 'ada'], 'Pass --for 1h'],
  [['limits', 'block', 'ada', '--for', '1 hour'], '--for must be a duration'],
  [['limits', 'block', 'ada', '--for', '-1h'], "'--for'"],
  [['maintenance'], 'needs another word'],
  [['maintenance', 'on', '--retry-after', '0s'], '--retry-after must be a duration'],
  [['maintenance', 'on', '--detail', ''], '--detail must be'],
  [['maintenance', 'on', '--name', 'a:b'], '--name must be'],
  [['maintenance', 'off', '--detail', 'x'], 'has no option --detail'],
])('refuses %j: %s', async (line, message) => {
  const before = await digest()
  const { code, stderr } = await run([...line, '--yes'])
  expect(code).toBe(2)
  expect(stderr).toContain(message)
  expect(await digest()).toBe(before)
})
