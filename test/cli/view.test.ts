/**
 * The commands that read, on each kind of installation: what they show is what the application has
 * done, they send no command that writes or scans without need, and the viewer's permissions suffice.
 */
import { writeFileSync, rmSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { startRedis } from '../../src/testing.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { HOSTILE_AGENT, INSTALLATIONS, populate, SECRET, type Installation } from './application.ts'
import { answer, digestOf, turnpike } from './support.ts'

describe.each(Object.keys(INSTALLATIONS))('on %s', (kind) => {
  let place: Installation
  let app: Awaited<ReturnType<typeof populate>>
  const ask = (...args: string[]): ReturnType<typeof answer> =>
    answer([...args, ...place.args, '--prefix', 'shop'], { env: place.env ?? {} })

  beforeAll(async () => {
    place = await INSTALLATIONS[kind]!()
    app = await populate(place.options)
  }, 60_000)
  afterAll(async () => {
    await app?.close()
    await place?.stop()
  })

  it('keys are counted by feature, and all were seen', async () => {
    const { code, data } = await ask('keys', '--tree')
    expect(code).toBe(0)
    expect(data).toMatchObject({ prefix: 'shop', isComplete: true, share: 1 })
    const counts = Object.fromEntries(data.groups.map(({ feature, keys }: any) => [feature, keys]))
    expect(counts).toMatchObject({
      session: 3,
      sessions: 2,
      cache: 2,
      idempotency: 1,
      limit: 2,
      inv: 1,
    })
    const limits = data.groups.find(({ feature }: any) => feature === 'limit')
    expect(limits.names).toContainEqual(expect.objectContaining({ name: 'api.api', keys: 1 }))
    expect(limits.estimatedBytes).toBeGreaterThan(50)
  })

  it('processes, their counts and the refused subjects are what they report', async () => {
    // Subjects are noted from the first report on.
    const reports = async (): Promise<boolean> => {
      await request(app.url).get('/limited').expect(429)
      await new Promise((resolve) => setTimeout(resolve, 100))
      return (await ask('limits')).data?.limits.length === 1
    }
    await until('it reports', reports, 15_000)
    const { code, data } = await ask('processes')
    expect(code).toBe(0)
    expect(data).toMatchObject({
      processes: [{ pid: process.pid, state: 'live', service: 'shop', release: 'r1' }],
      differing: [],
    })
    const { data: refused } = await ask('limits')
    expect(refused.limits).toMatchObject([
      {
        limit: 'web',
        policy: 'web',
        subject: '127.0.0.1',
        refusals: expect.any(Number),
        state: { limit: 2, remaining: 0, isLimited: true },
      },
    ])
    expect((await ask('top')).data).toMatchObject({
      processes: 1,
      refused: [{ limit: 'web', tag: '127.0.0.1' }],
    })
    expect(await ask('status')).toMatchObject({
      code: 0,
      data: {
        prefix: 'shop',
        processes: { live: 1, late: 0, lost: 0 },
        services: [{ name: 'search', status: 'healthy', responseTimeMs: 45, errorRate: 0 }],
      },
    })
  })

  it('what is left to a subject is what the limiter says, and nothing is counted', async () => {
    const { limit, policies, remaining } = await app.peek()
    const { resetMs } = policies[0]!
    for (let i = 0; i < 2; i++) {
      const { code, data } = await ask('limits', 'show', 'ada')
      expect(code).toBe(0)
      const { state } = data.limits.find(({ limit }: any) => limit === 'api')
      expect(state).toMatchObject({ limit, remaining, isLimited: false })
      // Both were asked at different times.
      expect(Math.abs(state.reset - resetMs)).toBeLessThan(60_000)
    }
  })

  it('locks and permits have their holder', async () => {
    for (const names of [[], ['nightly', 'exports']]) {
      const { code, data } = await ask('locks', ...names)
      expect(code).toBe(0)
      expect(data.held.map(({ kind, name, pid }: any) => [kind, name, pid])).toEqual([
        ['lock', 'nightly', process.pid],
        ['semaphore', 'exports', process.pid],
      ])
    }
    expect((await ask('locks', 'other')).data.held).toEqual([])
  })

  it("a user's sessions are found by the secret, and by a scan", async () => {
    const env = { ...place.env, SESSION_SECRET: SECRET }
    const common = [...place.args, '--prefix', 'shop']
    const bySecret = await answer(
      ['sessions', 'ada', '--secret-env', 'SESSION_SECRET', ...common],
      { env },
    )
    const byScan = await ask('sessions', 'ada', '--scan')
    for (const { code, data } of [bySecret, byScan]) {
      expect(code).toBe(0)
      expect(data.sessions.map(({ user, userAgent }: any) => [user, userAgent]).toSorted()).toEqual(
        [
          ['ada', HOSTILE_AGENT],
          ['ada', 'laptop'],
        ],
      )
    }
    const handles = ({ data }: typeof byScan): string[] =>
      data.sessions.map(({ handle }: any) => handle).toSorted()
    expect(handles(byScan)).toEqual(handles(bySecret))
    expect(byScan.data.scan).toMatchObject({ isComplete: true, share: 1 })
    const wrong = await answer(['sessions', 'ada', '--secret-env', 'SESSION_SECRET', ...common], {
      env: { ...place.env, SESSION_SECRET: 'another' },
    })
    expect(wrong).toMatchObject({ code: 1, data: { sessions: [] } })
  })

  it('requests with an idempotency key are found, and shown by their ID', async () => {
    const { data } = await ask('idempotency', 'find')
    expect(data.records).toMatchObject([{ state: 'completed', id: expect.stringMatching(/^pay:/) }])
    const [{ id }] = data.records
    expect((await ask('idempotency', 'show', id)).data.record).toMatchObject({
      id,
      state: 'completed',
    })
    expect(await ask('idempotency', 'find', '--state', 'stuck')).toMatchObject({
      code: 1,
      data: { records: [] },
    })
    expect((await ask('idempotency', 'find', '--name', 'other')).data.records).toEqual([])
    expect(await ask('idempotency', 'show', 'pay:nothing')).toMatchObject({
      code: 1,
      data: { record: null },
    })
  })

  it('cached responses are listed, and shown by their URL', async () => {
    const { data } = await ask('cache', 'ls')
    expect(data.entries.map(({ name, state, status }: any) => [name, state, status])).toEqual([
      ['/products/1', 'fresh', 200],
      ['/products/2', 'fresh', 200],
    ])
    expect((await ask('cache', 'ls', '*/2')).data.entries).toHaveLength(1)
    const { data: shown } = await ask('cache', 'show', `${app.url}/products/1`)
    expect(shown.entry).toMatchObject({
      name: '/products/1',
      state: 'fresh',
      status: 200,
      length: 9,
    })
    expect(shown.entry.fields).toContainEqual(['x-note', 'kept'])
    expect(shown.entry.fields).toContainEqual(['www-authenticate', '(hidden)'])
    expect(await ask('cache', 'show', `${app.url}/products/9`)).toMatchObject({
      code: 1,
      data: { entry: null },
    })
    expect((await ask('cache', 'stats')).data).toMatchObject({ responses: 2, values: 0 })
  })

  it('the doctor finds the server', async () => {
    const { code, data } = await ask('doctor')
    expect(data.findings.filter(({ status }: any) => status === 'critical')).toEqual([])
    expect(code).toBe(0)
    expect(data.hasKeys).toBe(true)
  })
})

describe('what is sent', () => {
  let app: Awaited<ReturnType<typeof populate>>
  let server: Awaited<ReturnType<typeof startRedis>>
  let proxy: Awaited<ReturnType<typeof startFaultProxy>>
  let folder: string
  const digest = (): Promise<string> => digestOf(server)

  /** A command line for each command that reads. */
  const lines = (): Record<string, string[]> => ({
    audit: [],
    'cache ls': [],
    'cache show': [`${app.url}/products/1`],
    'cache stats': [],
    doctor: [],
    'idempotency find': [],
    'idempotency show': ['pay:x'],
    keys: ['--tree'],
    limits: [],
    'limits show': ['127.0.0.1'],
    locks: [],
    processes: [],
    rules: [],
    'rules export': [],
    sessions: ['ada', '--scan'],
    status: [],
    top: [],
  })

  beforeAll(async () => {
    server = await startRedis({ args: ['--enable-debug-command', 'yes'] })
    proxy = await startFaultProxy(server.port)
    app = await populate({ redis: server.url })
    const line = ['processes', '--redis', server.url, '--prefix', 'shop']
    await until('it reports', async () => (await answer(line)).data.processes.length === 1, 15_000)
    folder = mkdtempSync(join(tmpdir(), 'turnpike-cli-'))
  })
  afterAll(async () => {
    await app.close()
    await proxy.close()
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  const reading = COMMANDS.filter(({ redis }) => redis === 'read' || redis === 'scan')

  it('has a line for each command that reads', () => {
    expect(Object.keys(lines()).toSorted()).toEqual(reading.map(({ name }) => name).toSorted())
  })

  it.each(reading)(
    '$name sends SCAN only if it says so, and never what blocks or writes',
    async ({ name, redis }) => {
      proxy.forget()
      const before = await digest()
      const { code, version } = await answer([
        ...name.split(' '),
        ...lines()[name]!,
        '--redis',
        proxy.url,
        '--prefix',
        'shop',
      ])
      expect(code).toBeLessThanOrEqual(1)
      expect(version).toBe(1)
      const sent = new Set(proxy.traffic.commands)
      if (redis !== 'scan') expect(sent).not.toContain('SCAN')
      for (const never of [
        'MONITOR',
        'KEYS',
        'FLUSHALL',
        'FLUSHDB',
        'EVAL',
        'EVALSHA',
        'SET',
        'DEL',
        'UNLINK',
        'SUBSCRIBE',
      ])
        expect(sent).not.toContain(never)
      expect(await digest()).toBe(before)
    },
  )

  it('locks, cache show and sessions send no SCAN where the name is known', async () => {
    proxy.forget()
    const common = ['--redis', proxy.url, '--prefix', 'shop']
    await turnpike(['locks', 'nightly', ...common])
    await turnpike(['cache', 'show', `${app.url}/products/1`, ...common])
    await turnpike(['sessions', 'ada', '--secret-env', 'S', ...common], { env: { S: SECRET } })
    expect(proxy.traffic.commands).not.toContain('SCAN')
    expect(proxy.traffic.commands).toContain('MGET')
  })

  it.each(reading)('$name needs no more than the permissions of a viewer', async ({ name }) => {
    const { data } = await answer(['acl', 'viewer', '--prefix', 'shop'])
    const words = (data.line as string).replace('>PASSWORD', '>pw').split(' ')
    await server.send(...(words as [string, ...string[]]))
    const redis = `redis://viewer:pw@127.0.0.1:${server.port}`
    const { error, code } = await answer([
      ...name.split(' '),
      ...lines()[name]!,
      '--redis',
      redis,
      '--prefix',
      'shop',
    ])
    expect(error).toBeUndefined()
    expect(code).toBeLessThanOrEqual(1)
  })

  it('every command that reads works on a replica', async () => {
    const replica = await startRedis({
      args: ['--replicaof', `127.0.0.1 ${server.port}`, '--repl-diskless-sync-delay', '0'],
    })
    try {
      while (!(await replica.send('INFO', 'replication')).includes('master_link_status:up'))
        await new Promise((resolve) => setTimeout(resolve, 20))
      for (const { name } of reading) {
        const line = [...name.split(' '), ...lines()[name]!]
        const { error } = await answer([...line, '--redis', replica.url, '--prefix', 'shop'])
        expect(error).toBeUndefined()
      }
    } finally {
      await replica.stop()
    }
  })

  it('names the permission that is missing, and ends with 4', async () => {
    await server.send(
      'ACL',
      'SETUSER',
      'poor',
      'reset',
      'on',
      '>pw',
      '~*',
      '+info',
      '+time',
      '+scan',
      '+dbsize',
    )
    const redis = `redis://poor:pw@127.0.0.1:${server.port}`
    const { code, stderr } = await turnpike(['keys', '--redis', redis, '--prefix', 'shop'])
    expect({ code, stderr }).toEqual({
      code: 4,
      stderr: expect.stringContaining('lacks +memory|usage'),
    })
    await server.send('ACL', 'SETUSER', 'poor', '+@all', 'resetkeys', '~other:*')
    const keys = await turnpike(['locks', 'nightly', '--redis', redis, '--prefix', 'shop'])
    expect({ code: keys.code, stderr: keys.stderr }).toEqual({
      code: 4,
      stderr: expect.stringContaining('may not read these keys'),
    })
  })

  it('a user agent of control characters is harmless in a terminal', async () => {
    const { stdout } = await turnpike(
      ['sessions', 'ada', '--scan', '--redis', server.url, '--prefix', 'shop'],
      { hasColors: true },
    )
    expect(stdout).toContain('evil\\u009b2J')
    expect(stdout).not.toContain('\u009b')
  })

  it('a scan takes at most a tenth of the time', async () => {
    await server.send(
      'EVAL',
      "for i = 1, 900 do redis.call('SET', 'other' .. i, 'x', 'EX', 100) end",
      '0',
    )
    proxy.forget()
    proxy.set({ latency: 5 })
    const start = performance.now()
    try {
      await turnpike(['keys', '--redis', proxy.url, '--prefix', 'nothing'])
    } finally {
      proxy.heal()
    }
    const steps = proxy.traffic.commands.filter((command) => command === 'SCAN').length
    expect(steps).toBeGreaterThan(3)
    // Each step takes 10 ms on the way, so each but the last of a scan is followed by 90 ms.
    expect(performance.now() - start).toBeGreaterThan((steps - 2) * 100)
  })

  it('a reply that nobody expects is an error without the arguments of the command', async () => {
    const rewrite = (piece: Buffer): Buffer =>
      Buffer.from(piece.toString('latin1').replace(/^:\d+\r\n$/, '-ERR no luck\r\n'), 'latin1')
    proxy.set({ rewrite })
    const line = ['keys', '--redis', proxy.url, '--prefix', 'shop']
    try {
      expect(await turnpike(line)).toEqual({
        code: 6,
        stdout: '',
        stderr: 'Redis refused a command: ERR no luck',
      })
      expect(await answer(line)).toMatchObject({ code: 6, error: { code: 'incomplete' } })
    } finally {
      proxy.heal()
    }
  })

  it('a scan that stops at its bound says which share it has seen, and ends with 6', async () => {
    await server.send(
      'EVAL',
      "for i = 1, 5000 do redis.call('SET', 'shop:limit:{' .. i .. '}:a.b.s', 'x', 'EX', 100) end",
      '0',
    )
    try {
      const { code, data } = await answer([
        'keys',
        '--limit',
        '500',
        '--redis',
        server.url,
        '--prefix',
        'shop',
      ])
      expect(code).toBe(6)
      expect(data.isComplete).toBe(false)
      expect(data.share).toBeGreaterThan(0.05)
      expect(data.share).toBeLessThan(0.5)
      const { estimatedKeys } = data.groups.find(({ feature }: any) => feature === 'limit')
      expect(estimatedKeys).toBeGreaterThan(3500)
      expect(estimatedKeys).toBeLessThan(7500)
    } finally {
      await server.send(
        'EVAL',
        "for i = 1, 5000 do redis.call('DEL', 'shop:limit:{' .. i .. '}:a.b.s') end",
        '0',
      )
    }
  })

  it('keys of other types and foreign values break no command', async () => {
    const keys = [
      'shop:lock:{wrong}',
      'shop:idempotency:{a:b}',
      'shop:cache:{a}:b',
      'shop:session:{12345678}:1234567890123456789012',
      'shop:semaphore:{x}',
    ]
    for (const key of keys) await server.send('LPUSH', key, 'x')
    await server.send('SET', 'shop:cache:{b}:c', 'TPC1 is no entry')
    await server.send('SET', 'shop:session:{12345678}:2234567890123456789012', 'Ju no record')
    try {
      for (const { name } of reading) {
        const { error } = await answer([
          ...name.split(' '),
          ...lines()[name]!,
          '--redis',
          server.url,
          '--prefix',
          'shop',
        ])
        expect(error).toBeUndefined()
      }
    } finally {
      await server.send(
        'DEL',
        ...keys,
        'shop:cache:{b}:c',
        'shop:session:{12345678}:2234567890123456789012',
      )
    }
  })

  it('--app finds Redis, prefix and secret in the module', async () => {
    const file = join(folder, 'tp.mjs')
    const source = new URL('../../src/node.ts', import.meta.url).href
    writeFileSync(
      file,
      `import { turnpike } from ${JSON.stringify(source)}
      export const tp = turnpike({ redis: ${JSON.stringify(server.url)}, prefix: 'shop' })
      tp.session({ secret: ${JSON.stringify(SECRET)} })`,
    )
    const { code, data } = await answer(['sessions', 'ada', '--app', file])
    expect(code).toBe(0)
    expect(data.sessions).toHaveLength(2)
    expect((await answer(['locks', '--app', file])).code).toBe(0)
    writeFileSync(join(folder, 'none.mjs'), 'export const app = 1')
    const none = await turnpike(['locks', '--app', join(folder, 'none.mjs')])
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('It exports app.') })
  })
})
