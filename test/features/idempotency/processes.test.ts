import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Agent, request, type IncomingMessage } from 'node:http'
import { Redis } from 'ioredis'
import { afterEach, expect, test, vi } from 'vitest'
import { startRedis, type RedisServer } from '../../../src/testing.ts'

const script = fileURLToPath(new URL('./server.mjs', import.meta.url))

interface Server {
  child: ChildProcess
  port: number
}

const children = new Set<ChildProcess>()
afterEach(() => children.forEach((child) => child.kill('SIGKILL')))

async function start(...args: string[]): Promise<Server> {
  for (let attempt = 0; ; attempt++) {
    const child = fork(script, args, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    children.add(child)
    const port = await Promise.race([
      once(child, 'message').then(([port]) => port as number),
      once(child, 'exit'),
    ])
    if (typeof port === 'number') return { child, port }
    // The package may just be built anew beside us.
    if (attempt === 20) throw new Error('the server does not start')
    await sleep(500)
  }
}

interface Answer {
  status: number
  text: string
  replayed: boolean
}

const agent = new Agent({ keepAlive: false, maxSockets: Infinity })

/** One attempt; rejects when the server dies meanwhile. */
function pay(port: number, key: string, body: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'Idempotency-Key': key, 'Content-Type': 'application/json' }
    const req = request({ port, path: '/pay', method: 'POST', agent, headers }, (res) => {
      let text = ''
      res.on('data', (piece) => (text += piece))
      res.on('error', reject)
      res.on('end', () =>
        resolve({
          status: res.statusCode!,
          text,
          replayed: res.headers['idempotency-replayed'] === 'true',
        }),
      )
    })
    req.on('error', reject)
    req.end(JSON.stringify(body))
  })
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until so many handlers have begun, however slow the machine is. */
const running = (bank: RedisServer, handlers: number): Promise<void> =>
  vi.waitFor(async () => expect(await bank.send('HLEN', 'runs')).toBe(`:${handlers}\r\n`), {
    timeout: 20_000,
    interval: 10,
  })

test('200 parallel first uses over two processes: one handler run, one answer', async () => {
  await using store = await startRedis()
  await using bank = await startRedis()
  const servers = [
    await start(store.url, bank.url, '30s', '10s'),
    await start(store.url, bank.url, '30s', '10s'),
  ]
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => pay(servers[i % 2]!.port, 'k', { ms: 100 })),
  )
  expect(await bank.send('HGET', 'runs', 'k')).toBe('$1\r\n1\r\n')
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
    new Set(['201 {"receipt":"receipt 1"}']),
  )
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1)
}, 60_000)

test('SIGKILL after the effect, before completion: the retry sees attempt 2', async () => {
  await using store = await startRedis()
  await using bank = await startRedis()
  const [doomed, other] = [
    await start(store.url, bank.url, '1s', '0ms'),
    await start(store.url, bank.url, '1s', '0ms'),
  ]
  const body = { ms: 0, hang: true, tell: true }
  const first = pay(doomed.port, 'k', body).catch(() => 'killed')
  await once(doomed.child, 'message')
  doomed.child.kill('SIGKILL')
  expect(await first).toBe('killed')
  const killed = performance.now()
  let answer = await pay(other.port, 'k', body)
  while (answer.status === 409) {
    await sleep(20)
    answer = await pay(other.port, 'k', body)
  }
  expect(performance.now() - killed).toBeLessThan(2000)
  expect(JSON.parse(answer.text)).toEqual({ receipt: 'receipt 1', attempt: 2, recovered: true })
  expect(await bank.send('HGET', 'effects', 'k')).toBe('$1\r\n1\r\n')
}, 60_000)

/** Repeats a request while its first attempt is running. */
async function insist(port: number, key: string, body: object): Promise<Answer> {
  for (;;) {
    const answer = await pay(port, key, body)
    if (answer.status !== 409) return answer
    await sleep(20)
  }
}

const numbersIn = async (redis: Redis, name: string): Promise<number[]> =>
  Object.values(await redis.hgetall(name)).map(Number)

test.each([
  ['a step', { ms: 600 }],
  ['the fencing token', { ms: 600, fenced: true }],
])(
  'a process that stands still for longer than its leases has no second effect, by %s',
  async (_name, body) => {
    const KEYS = 30
    await using store = await startRedis()
    await using bank = await startRedis()
    const [frozen, other] = [
      await start(store.url, bank.url, '1s', '0ms'),
      await start(store.url, bank.url, '1s', '0ms'),
    ]
    const keys = Array.from({ length: KEYS }, (_, i) => `key-${i}`)
    // Some are before their effect, some behind it.
    const late = keys.map((key) => pay(frozen.port, key, body))
    await running(bank, KEYS)
    await sleep(200)
    frozen.child.kill('SIGSTOP')
    await sleep(1500)
    const answers = await Promise.all(keys.map((key) => insist(other.port, key, body)))
    frozen.child.kill('SIGCONT')
    const lateAnswers = await Promise.all(late)
    const redis = new Redis(bank.url)
    const effects = await numbersIn(redis, 'effects')
    const refused = await numbersIn(redis, 'refused')
    redis.disconnect()
    const taken = answers.filter(({ replayed }) => !replayed).length
    console.log(
      `SIGSTOP: ${KEYS} keys, ${taken} taken over, ${lateAnswers.filter(({ status }) => status === 409).length} late answers refused, ${refused.length} late writes refused`,
    )
    expect(taken).toBeGreaterThan(0)
    expect(effects).toHaveLength(KEYS)
    for (const [i, { status, text, replayed }] of answers.entries()) {
      expect(status).toBe(201)
      const late = lateAnswers[i]!
      // Who was overtaken learns it. Its own answer is not sent as a success.
      if (replayed) expect(late).toMatchObject({ status: 201, text })
      else expect(late.status).toBe(409)
      expect((await pay(other.port, keys[i]!, body)).text).toBe(text)
    }
    // The step has one effect. A row with a fence is written again by the next attempt, but never by a late one.
    if (!('fenced' in body)) expect(effects.every((count) => count === 1)).toBe(true)
    else expect(refused.length).toBeGreaterThan(0)
  },
  60_000,
)

test('SIGTERM: running requests are answered and stored, and the process ends by itself', async () => {
  await using store = await startRedis()
  await using bank = await startRedis()
  const [leaving, other] = [
    await start(store.url, bank.url, '30s', '0ms'),
    await start(store.url, bank.url, '30s', '0ms'),
  ]
  const body = { ms: 300 }
  const keys = Array.from({ length: 10 }, (_, i) => `key-${i}`)
  const first = keys.map((key) => pay(leaving.port, key, body))
  await running(bank, keys.length)
  const ended = once(leaving.child, 'exit')
  leaving.child.kill('SIGTERM')
  const answers = await Promise.all(first)
  for (const [i, { status, text }] of answers.entries()) {
    expect(status).toBe(201)
    expect(await pay(other.port, keys[i]!, body)).toEqual({ status: 201, text, replayed: true })
  }
  expect(await ended).toEqual([0, null])
}, 60_000)

test('SIGTERM: a client that uses one connection again and again is sent away, not cut off', async () => {
  await using store = await startRedis()
  await using bank = await startRedis()
  const { child, port } = await start(store.url, bank.url, '30s', '0ms')
  const kept = new Agent({ keepAlive: true, maxSockets: 1 })
  async function connectionOf(key: string, pause: number): Promise<unknown> {
    const headers = { 'Idempotency-Key': key, 'Content-Type': 'application/json' }
    const req = request({ port, path: '/pay', method: 'POST', agent: kept, headers })
    req.end(JSON.stringify({ ms: 0, pause }))
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    await res.toArray()
    expect(res.statusCode).toBe(201)
    return res.headers.connection
  }
  const first = connectionOf('0', 1000)
  await running(bank, 1)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await first).toBe('keep-alive')
  expect(await connectionOf('1', 0)).toBe('close')
  expect(await ended).toEqual([0, null])
  kept.destroy()
}, 60_000)

test('SIGTERM: a handler whose client has left is waited for, and its response is stored', async () => {
  await using store = await startRedis()
  await using bank = await startRedis()
  const [leaving, other] = [
    await start(store.url, bank.url, '30s', '0ms'),
    await start(store.url, bank.url, '30s', '0ms'),
  ]
  // The connections are closed after 1.5 s. The handler takes up to 6 s.
  const body = { ms: 3000 }
  const keys = Array.from({ length: 10 }, (_, i) => `key-${i}`)
  const first = keys.map((key) => pay(leaving.port, key, body).catch(() => undefined))
  await running(bank, keys.length)
  const ended = once(leaving.child, 'exit')
  leaving.child.kill('SIGTERM')
  const answers = await Promise.all(first)
  expect(answers.some((answer) => answer === undefined)).toBe(true)
  expect(await ended).toEqual([0, null])
  for (const key of keys)
    expect(await pay(other.port, key, body)).toMatchObject({ status: 201, replayed: true })
}, 60_000)

interface Start {
  key: string
  attempt: number
  pid: number
  /** Milliseconds since the epoch. */
  at: number
}

function startOf(line: string): Start {
  const [key = '', ...numbers] = line.split(' ')
  const [attempt = 0, pid = 0, at = 0] = numbers.map(Number)
  return { key, attempt, pid, at }
}

/**
 * How long after the death of an attempt's process the next attempt began. Some died before they
 * were counted: then so many deaths lie between the two.
 */
function takeoversAmong(
  starts: readonly Start[],
  deaths: ReadonlyMap<number, number>,
): { key: string; ms: number; deaths: number }[] {
  const sorted = starts.toSorted((a, b) => a.key.localeCompare(b.key) || a.attempt - b.attempt)
  return sorted.flatMap((start, i) => {
    const next = sorted[i + 1]
    const death = deaths.get(start.pid)
    if (next?.key !== start.key || death === undefined || death < start.at) return []
    return [{ key: start.key, ms: next.at - death, deaths: next.attempt - start.attempt }]
  })
}

test('kill -9: 50 kills over 500 keys, two clients each: no double effect, one answer, nobody stuck', async () => {
  const KILLS = 50
  const KEYS = 500
  const LEASE = 1000
  await using store = await startRedis()
  await using bank = await startRedis()
  const args = [store.url, bank.url, `${LEASE}ms`, '0ms']
  const servers = await Promise.all(Array.from({ length: 4 }, () => start(...args)))
  /** When each was killed, by process. */
  const deaths = new Map<number, number>()
  let kills = 0
  let answered = 0
  let isOver = false
  const killer = (async () => {
    const spares = new Set<Promise<unknown>>()
    let before = 0
    while (!isOver) {
      await sleep(20 + Math.random() * 80)
      // However slow the machine is: what is killed faster than it answers never comes to an end.
      if (servers.length < 3 || answered < before + 2) continue
      before = answered
      const [victim] = servers.splice(Math.floor(Math.random() * servers.length), 1)
      deaths.set(victim!.child.pid!, Date.now())
      victim!.child.kill('SIGKILL')
      kills++
      const spare = start(...args)
        .then((server) => servers.push(server))
        .finally(() => spares.delete(spare))
      spares.add(spare)
    }
    await Promise.allSettled(spares)
  })()
  let broken = 0
  const stuck = new Map<string, number>()
  async function client(key: string): Promise<string> {
    let since: number | undefined
    for (;;) {
      const { port } = servers[Math.floor(Math.random() * servers.length)]!
      const answer = await pay(port, key, { ms: 60 }).catch(() => undefined)
      if (answer?.status === 409) {
        since ??= performance.now()
        stuck.set(key, Math.max(stuck.get(key) ?? 0, performance.now() - since))
        await sleep(20)
        continue
      }
      since = undefined
      if (answer?.status === 201) {
        answered++
        return answer.text
      }
      broken++
      await sleep(10)
    }
  }
  const answers = new Map<string, Promise<string[]>>()
  let next = 0
  async function keep(): Promise<void> {
    while (next < KEYS || kills < KILLS) {
      const key = `key-${next++}`
      const both = Promise.all([client(key), client(key)])
      answers.set(key, both)
      await both
    }
  }
  await Promise.all(Array.from({ length: 8 }, keep))
  isOver = true
  await killer
  const { hgetall, starts } = await (async () => {
    const redis = new Redis(bank.url)
    const [effects, runs, starts] = await Promise.all([
      redis.hgetall('effects'),
      redis.hgetall('runs'),
      redis.lrange('starts', 0, -1),
    ])
    redis.disconnect()
    return { hgetall: { effects, runs }, starts: starts.map(startOf) }
  })()
  const repeated = Object.values(hgetall.runs).filter((runs) => Number(runs) > 1).length
  const doubles = Object.values(hgetall.effects).filter((count) => count !== '1').length
  const takeovers = takeoversAmong(starts, deaths)
  const longest = Math.max(...takeovers.map(({ ms, deaths }) => ms / deaths))
  console.log(
    `kill -9: ${kills} kills, ${answers.size} keys, ${broken} broken requests, ${repeated} keys run more than once, ${doubles} double effects, ${takeovers.length} takeovers, the latest ${Math.round(longest)} ms after the death (lease ${LEASE} ms), longest stretch of 409: ${Math.round(Math.max(...stuck.values()))} ms`,
  )
  expect(kills).toBeGreaterThanOrEqual(KILLS)
  expect(answers.size).toBeGreaterThanOrEqual(KEYS)
  expect(repeated).toBeGreaterThan(0)
  expect(doubles).toBe(0)
  expect(Object.keys(hgetall.effects)).toHaveLength(answers.size)
  for (const both of answers.values()) {
    const [one, two] = await both
    expect(two).toBe(one)
  }
  // Whose successor dies, too, waits anew: the bound is one for each death.
  expect(takeovers.length).toBeGreaterThan(0)
  for (const { key, ms, deaths } of takeovers)
    expect(ms, key).toBeLessThanOrEqual(deaths * (LEASE + 1000))
}, 300_000)
