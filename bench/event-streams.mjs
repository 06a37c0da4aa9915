/**
 * What event streams cost: publications without streams, a fan-out of 10,000 messages to 200 streams,
 * the delay of single messages, memory and timers of 1,000 idle streams, beside better-sse, which
 * knows one process alone: `node bench/event-streams.mjs`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { openLab, versionOf } from './lab.mjs'
import { fixed, median, print, quantile } from './table.mjs'

const [STREAMS, MESSAGES, BATCH, IDLE] = [200, 10_000, 100, 1000]
const ROUNDS = 3
const SINGLE = 300

const lab = await openLab(process.execPath)
const now = () => performance.timeOrigin + performance.now()

function start(kind) {
  const file = path.join(lab.folder, 'bench/event-streams-server.mjs')
  const child = spawn(process.execPath, ['--expose-gc', file, kind, lab.folder, lab.redis.url], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  return {
    child,
    port: once(child, 'message').then(([{ port }]) => port),
    async ask(message) {
      const answer = once(child, 'message')
      child.send(message)
      return (await answer)[0]
    },
  }
}

/** Opens streams. Each counts its events; `sample` of them note how late they are. */
async function openStreams(port, count, sample = 0) {
  const streams = { events: 0, delays: [], wanted: Infinity, isThere: () => {} }
  const agent = new http.Agent({ maxSockets: Infinity })
  streams.requests = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const request = http.get({ port, host: '127.0.0.1', agent })
      request.on('error', () => {})
      const [response] = await once(request, 'response')
      if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
      response.on('error', () => {})
      response.setEncoding('latin1').on('data', (text) => {
        const found = text.match(i < sample ? /"at":[\d.]+/g : /"at":/g)
        if (!found) return
        streams.events += found.length
        if (i < sample) for (const each of found) streams.delays.push(now() - Number(each.slice(5)))
        if (streams.events >= streams.wanted) streams.isThere()
      })
      return request
    }),
  )
  streams.arrived = (wanted) =>
    new Promise((resolve) => {
      Object.assign(streams, { wanted, isThere: resolve })
      if (streams.events >= wanted) resolve()
    })
  streams.close = () => {
    for (const request of streams.requests) request.destroy()
  }
  return streams
}

/** Messages to all streams as fast as they arrive: in batches, so that no client falls behind. */
async function fanOut({ ask }, port) {
  const streams = await openStreams(port, STREAMS)
  await pause(300)
  const began = now()
  let cpuMs = 0
  for (let sent = 0; sent < MESSAGES; sent += BATCH) {
    const arrived = streams.arrived((sent + BATCH) * STREAMS)
    await ask({ publish: BATCH, atOnce: 16 })
    await arrived
    cpuMs += (await ask({ cpu: true })).cpuMs
  }
  const ms = now() - began
  streams.close()
  return { rate: (MESSAGES / ms) * 1000, cpu: (cpuMs * 1000) / MESSAGES }
}

/** Delay from the call of publish until the client has the event, one message after the other. */
async function delays({ ask }, port) {
  const streams = await openStreams(port, STREAMS, STREAMS)
  await pause(300)
  for (let sent = 1; sent <= SINGLE; sent++) {
    const arrived = streams.arrived(sent * STREAMS)
    await ask({ publish: 1, atOnce: 1 })
    await arrived
    await pause(2)
  }
  streams.close()
  return { p50: median(streams.delays), p99: quantile(streams.delays, 0.99) }
}

async function memory({ ask }, port) {
  await (await openStreams(port, 10)).close()
  await pause(300)
  const before = await ask({ memory: true })
  const streams = await openStreams(port, IDLE)
  await pause(1000)
  const after = await ask({ memory: true })
  streams.close()
  const each = (name) => (after[name] - before[name]) / IDLE / 1024
  return { heap: each('heapUsed'), rss: each('rss'), timers: after.timers - before.timers }
}

async function publications({ ask }) {
  await ask({ publish: 5000, atOnce: 64 })
  const { ms } = await ask({ publish: 20_000, atOnce: 64 })
  const { cpuMs } = await ask({ cpu: true })
  return { rate: (20_000 / ms) * 1000, cpu: (cpuMs * 1000) / 20_000 }
}

async function measure(kind) {
  const idle = start(kind)
  const memories = await memory(idle, await idle.port)
  idle.child.kill('SIGKILL')
  const server = start(kind)
  const port = await server.port
  const rounds = []
  // In the first one V8 is still at work.
  for (let i = 0; i <= ROUNDS; i++) rounds.push(await fanOut(server, port))
  const delay = await delays(server, port)
  await pause(300)
  const published = kind === 'turnpike' ? await publications(server) : undefined
  server.child.kill('SIGKILL')
  const of = (name) => median(rounds.slice(1).map((round) => round[name]))
  return { memories, delay, published, rate: of('rate'), cpu: of('cpu') }
}

try {
  const results = []
  for (const kind of ['turnpike', 'better-sse']) results.push([kind, await measure(kind)])
  print(
    `### Redis ${lab.redisVersion}, Node ${versionOf(process.execPath)}: ${MESSAGES} messages to ${STREAMS} streams, medians of ${ROUNDS} rounds; ${IDLE} idle streams`,
    [
      '',
      'messages/s',
      'events/s',
      'CPU us a message',
      'delay ms, p50',
      'p99',
      'heap kB a stream',
      'RSS kB a stream',
      'timers',
    ],
    results.map(([kind, { cpu, delay, memories, rate }]) => [
      kind,
      fixed(rate, 0),
      fixed(rate * STREAMS, 0),
      fixed(cpu, 0),
      fixed(delay.p50, 2),
      fixed(delay.p99, 2),
      fixed(memories.heap, 1),
      fixed(memories.rss, 1),
      fixed(memories.timers, 0),
    ]),
  )
  const [[, { published }]] = results
  console.log(
    `\n${fixed(published.rate, 0)} publications/s without streams, 64 at once; ${fixed(published.cpu, 0)} us of CPU each`,
  )
} finally {
  await lab.close()
}
