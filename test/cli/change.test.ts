/** The commands that change something: what they change, that they ask before, and that it is noted. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { turnpike as turnpikeOf } from '../../src/node.ts'
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
import { answer, digestOf, turnpike, type Ran } from './support.ts'

const RULES_FILE = join(mkdtempSync(join(tmpdir(), 'rules-')), 'rules.json')
writeFileSync(
  RULES_FILE,
  JSON.stringify({
    rules: [
      { target: '198.51.100.9', effect: 'deny', until: Date.now() + 3_600_000 },
      { target: 'limit:unused', effect: 'on', enforce: 25 },
      { target: 'policy:web', effect: 'change', limit: 30, window: 60_000 },
      { target: 'subject:ada', subject: 'ada', effect: 'allow' },
      { target: '198.51.100.10', effect: 'deny', until: 1 },
    ],
  }),
)
afterAll(() => rmSync(dirname(RULES_FILE), { recursive: true }))

let server: RedisServer
let app: Populated
const env = { SESSION_SECRET: SECRET }
const common = (): string[] => ['--redis', server.url, '--prefix', 'shop']
const run = (line: string[], given: object = {}): Promise<Ran> =>
  turnpike([...line, ...common()], { env, ...given })
const ask = (line: string[]): ReturnType<typeof answer> => answer([...line, ...common()], { env })
const digest = (): Promise<string> => digestOf(server)

/** An idempotency key whose process was killed. */
async function makeStuckKey(to: RedisServer, id: string, leaseEnds: number): Promise<void> {
  const key = `shop:idempotency:{${id}}`
  const claim = `p${'f'.repeat(43)}owner`
  await to.send('HSET', key, 'f', claim, 'l', `${Date.now() + 600_000} ${leaseEnds} 1000 2`)
  await to.send('EXPIRE', key, '600')
}

/** A rule that can be lifted. */
async function makeRule(): Promise<void> {
  const rules = 'shop:operations:rules:{all}'
  await server.send('HSET', rules, 'a:198.51.100.7', '1 0 {"effect":"deny"}', '!', '1.x')
  await server.send('EXPIRE', rules, '600')
}

beforeAll(async () => {
  server = await startRedis({ args: ['--enable-debug-command', 'yes'] })
  app = await populate({ redis: server.url })
  await app.report()
  await makeStuckKey(server, 'pay:stuck', Date.now() - 120_000)
  await makeRule()
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
    mode: ['unused', 'shadow', '--no-wait', '--reason', 'a test'],
    allow: ['203.0.113.7', '--no-wait', '--reason', 'a test'],
    block: ['203.0.113.0/24', '--no-wait', '--reason', 'a test'],
    plan: ['web', 'limit=30', '--no-wait', '--reason', 'a test'],
    unblock: ['198.51.100.7', '--no-wait', '--reason', 'a test'],
    'cache clear': [],
    'cache purge': ['--tag', 'products'],
    'idempotency release': ['pay:stuck'],
    'limits block': ['ada', '--for', '1h'],
    'limits reset': ['ada'],
    'limits set': ['ada', 'api=9'],
    'limits unset': ['eve'],
    'rules clear': ['--no-wait', '--reason', 'a test'],
    'rules import': [RULES_FILE, '--no-wait', '--reason', 'a test'],
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

it.each([
  [['mode', 'wep', 'shadow'], "No process has a limit 'wep'. Did you mean web?"],
  [['block', '0.0.0.0/0'], 'That is every IPv4 address.'],
  [['block', '10.0.0.0/8'], 'That is 16,777,216 addresses.'],
  [['allow', '::/0'], 'That is every IPv6 address.'],
])('%j says before it is done: %s', async (line, sentence) => {
  const { stderr } = await run([...line, '--reason', 'a test', '--no-wait'])
  expect(stderr).toContain(sentence)
})

it('a change that concerns many wants its name typed', async () => {
  for (const [line, name] of [
    [['block', '10.0.0.0/8', '--no-wait', '--reason', 'a test'], '10.0.0.0/8'],
    [['plan', 'web', 'limit=0', '--no-wait', '--reason', 'a test'], 'web'],
    [['mode', 'unused', 'closed', '--no-wait', '--reason', 'a test'], 'unused'],
    [['rules', 'import', RULES_FILE, '--no-wait', '--reason', 'a test'], '4'],
    [['rules', 'clear', '--no-wait', '--reason', 'a test'], 'shop'],
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
    const why = ['--reason', 'a flood', '--as', 'ann', '--yes', '--no-wait']
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

  it('a policy is changed in the application and in what this program shows, until it is set to default', async () => {
    const why = ['--reason', 'overload', '--as', 'ann', '--yes', '--no-wait']
    await go(['limits', 'reset', '127.0.0.1', '--yes'])
    await request(own.url).get('/limited').expect(200)
    expect(await go(['plan', 'web', 'limit=1', 'window=30m', ...why])).toMatchObject({
      code: 0,
      data: { changed: true, values: { limit: 1, window: 1_800_000 } },
    })
    await until('it refuses', async () => (await request(own.url).get('/limited')).status === 429)
    const shown = async (): Promise<any> =>
      (await go(['limits', 'show', '127.0.0.1'])).data.limits.find(
        (each: any) => each.limit === 'web',
      )
    expect((await shown()).state).toMatchObject({ limit: 1, remaining: 0, isLimited: true })
    expect((await go(['rules'])).data.rules).toMatchObject([
      { target: 'policy:web', effect: 'change', limit: 1, window: 1_800_000, by: 'ann' },
    ])
    expect((await go(['plan', 'web', 'default', ...why])).data.changed).toBe(true)
    expect((await shown()).state.limit).toBe(2)
  })

  it('a subject has limits of its own, until they are unset', async () => {
    const why = ['--reason', 'a launch', '--as', 'ann', '--yes']
    await go(['limits', 'reset', 'ada', '--yes'])
    expect(
      (await go(['limits', 'set', 'ada', 'api=50', '--for', '1h', ...why])).data,
    ).toMatchObject({
      changed: true,
      limits: { api: '50' },
    })
    expect((await own.peek()).limit).toBe(50)
    expect((await go(['limits', 'show', 'ada'])).data.limits).toContainEqual(
      expect.objectContaining({ limit: 'api', state: expect.objectContaining({ limit: 50 }) }),
    )
    expect((await go(['limits', 'unset', 'ada', ...why])).data.changed).toBe(true)
    expect((await own.peek()).limit).toBe(5)
    expect(await go(['limits', 'unset', 'ada', ...why])).toMatchObject({ code: 1 })
    for (const [words, message] of [
      [['api=x'], 'POLICY=600'],
      [['apy=5'], "Did you mean 'api'"],
      [['none=5'], 'No limit with overrides'],
    ] as const)
      expect(
        (await go(['limits', 'set', 'ada', ...words, ...why])).error.message.replaceAll("'", ''),
      ).toContain(message.replaceAll("'", ''))
  })

  it('rules are exported, cleared and imported again as they were', async () => {
    const why = ['--reason', 'a move', '--as', 'ann', '--yes', '--no-wait']
    for (const line of [
      ['block', '198.51.100.0/24', '--for', '1h'],
      ['allow', 'subject:ada'],
      ['mode', 'unused', 'on', '--enforce', '25'],
      ['plan', 'web', 'limit=30'],
    ])
      expect((await go([...line, ...why])).code).toBe(0)
    const file = `${RULES_FILE}.${kind}`
    const exported = await go(['rules', 'export'])
    writeFileSync(file, JSON.stringify(exported))
    const shown = async (): Promise<string[]> =>
      (await go(['rules', 'export'])).data.rules
        .map((rule: any) => JSON.stringify({ ...rule, until: rule.until > 0, by: '', reason: '' }))
        .toSorted()
    const before = await shown()
    expect(before).toHaveLength(4)
    expect(await go(['rules', 'clear', '--bans', ...why])).toMatchObject({ code: 1 })
    expect((await go(['rules', 'clear', ...why])).data).toMatchObject({ changed: true, count: 4 })
    expect(await shown()).toEqual([])
    expect((await go(['rules', 'import', file, ...why])).data).toMatchObject({ count: 4 })
    expect(await shown()).toEqual(before)
    await go(['rules', 'clear', ...why])
  })

  it.each([
    ['wep', 'limit=1', "no process has mounted a policy 'wep'. did you mean 'web'?"],
    ['web', 'limt=1', "did you mean 'limit'?"],
    ['web', 'limit=-1', 'limit must be an integer'],
    ['web', 'burst=3', 'web has no burst: its algorithm is sliding-window'],
    ['web', 'window=400d', 'up to 366d'],
  ])('plan %s %s is refused', async (path, value, message) => {
    const { code, error } = await go(['plan', path, value, '--reason', 'x', '--yes'])
    expect(code).toBe(2)
    expect(error.message.toLowerCase().replaceAll("'", '')).toContain(
      message.toLowerCase().replaceAll("'", ''),
    )
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

it('the permit of a semaphore is released in place of its holder, and no other one', async () => {
  const tp = turnpikeOf({ redis: server.url, prefix: 'shop', operations: false })
  const semaphore = tp.semaphore('hung', { limit: 2 })
  const [first, second] = [await semaphore.acquire(), await semaphore.acquire()]
  const { data } = await ask(['locks', 'hung'])
  expect(data.held).toHaveLength(2)
  expect(JSON.stringify(data.held)).not.toContain('owner')
  const [{ host, permit, pid }, other] = data.held
  expect(other.permit).not.toBe(permit)
  const line = ['locks', 'break', 'hung', '--permit', `${host}/${pid}/${permit}`, '--yes']
  expect(await ask(line)).toMatchObject({ code: 0, data: { released: true } })
  expect((await ask(['locks', 'hung'])).data.held).toMatchObject([{ permit: other.permit }])
  expect(await semaphore.count()).toBe(1)
  // It is another permit's now, or nobody's.
  expect(await ask(line)).toMatchObject({ code: 1, data: { changed: false } })
  const wrong = await ask(['locks', 'break', 'hung', '--permit', 'first', '--yes'])
  expect(wrong.code).toBe(2)
  await Promise.all([first.release(), second.release()])
  await tp.close()
})

it('what began at the same time is listed by name, in the same order each time', async () => {
  const names = ['echo', 'alpha', 'delta', 'bravo', 'charlie']
  const times = ['since', `${Date.now()}`, 'until', `${Date.now() + 60_000}`]
  for (const name of names) {
    const key = `shop:lock:{same-${name}}`
    await server.send('HSET', key, 'owner', 'host/1/x', 'token', '1', ...times)
    await server.send('EXPIRE', key, '60')
  }
  const { data } = await ask(['locks'])
  const listed = data.held
    .map(({ name }: any) => name)
    .filter((name: string) => name.startsWith('same-'))
  expect(listed).toEqual(names.map((name) => `same-${name}`).toSorted())
  await server.send('DEL', ...names.map((name) => `shop:lock:{same-${name}}`))
})

it('what a stranger has stored as the switch of maintenance can be replaced', async () => {
  const key = 'shop:operations:document:{maintenance-broken}'
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
    // The commands before it have cleared the rules.
    if (name === 'unblock') await makeRule()
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

it('a block waits until the processes confirm it, and says so of one that does not', async () => {
  await using redis = await startRedis()
  const tp = turnpikeOf({ redis: redis.url, prefix: 'own', operations: { every: '1s' } })
  onTestFinished(() => tp.close())
  tp.gate()
  await until('it reports', async () => (await tp.processes()).length === 1)
  const place = ['--redis', redis.url, '--prefix', 'own', '--reason', 'a test', '--yes']
  const { code, stdout } = await turnpike(['block', '203.0.113.7', ...place], { env })
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: expect.stringMatching(
      /^Stored: 203\.0\.113\.7, deny\. In force in 1 of 1 processes after \d+\.\d s\.$/,
    ),
  })
  expect((await answer(['unblock', '203.0.113.7', ...place], { env })).data).toMatchObject({
    lifted: true,
    confirmed: 1,
    processes: 1,
    missing: [],
  })
})

it.each([
  ['[]', 'is not what'],
  ['{', 'cannot be read'],
  ['{"rules":[{"target":"203.0.113.7"}]}', 'Rule 1'],
  ['{"rules":[{"target":"localhost","effect":"deny"}]}', 'Rule 1'],
  ['{"rules":[{"target":"limit:api","effect":"deny"}]}', 'Rule 1'],
  ['{"rules":[null]}', 'Rule 1'],
  [JSON.stringify({ rules: Array.from({ length: 1001 }, () => ({})) }), 'The most are 1000'],
])('the file %.60s is not imported', async (text, message) => {
  const file = `${RULES_FILE}.wrong`
  writeFileSync(file, text)
  const before = await digest()
  const { code, error } = await ask(['rules', 'import', file, '--yes', '--reason', 'a test'])
  expect({ code, message: error.message }).toMatchObject({
    code: 2,
    message: expect.stringContaining(message),
  })
  expect(await digest()).toBe(before)
})

it('a subject whose requests fail because of a planted key is shown so, and is healed by a reset', async () => {
  const show = async (): Promise<any> =>
    (await ask(['limits', 'show', '203.0.113.99'])).data.limits.find(
      ({ limit }: any) => limit === 'web',
    )
  const { key } = await show()
  await server.send('LPUSH', key, 'planted')
  expect(await show()).toMatchObject({ hasOtherType: true, isStored: true })
  expect((await run(['limits', 'show', '203.0.113.99'])).stdout).toContain('every request fails')
  expect((await ask(['limits', 'reset', '203.0.113.99', '--yes'])).data.count).toBe(1)
  expect((await show()).state).toMatchObject({ isLimited: false })
})

it('a change that finds Redis full says so, and what to do', async () => {
  const full = await startRedis({ args: ['--maxmemory', '1', '--maxmemory-policy', 'noeviction'] })
  for (const line of [
    ['maintenance', 'on'],
    ['block', '203.0.113.7', '--no-wait', '--reason', 'a test'],
  ]) {
    const { code, stderr } = await turnpike([...line, '--yes', '--redis', full.url])
    expect({ line, code }).toEqual({ line, code: 3 })
    expect(stderr).toMatch(/Redis cannot do that now: OOM .*Raise maxmemory/s)
  }
  await full.stop()
})
