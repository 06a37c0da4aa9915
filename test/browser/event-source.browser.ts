/** A browser's own EventSource, in headless Chromium. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { expect, onTestFinished, test } from 'vitest'
import { findChromium } from '../../scripts/ensure-chromium.mjs'
import { turnpike } from '../../src/express.ts'
import { channels, sse } from '../../src/realtime.ts'
import { startRedis } from '../../src/testing.ts'
import { until } from '../support/until.ts'

const MESSAGES = 200
const PAGE = `<!doctype html><title>stream</title><script>
const seen = []
let opened = 0
const source = new EventSource('/stream')
source.onopen = () => opened++
source.onmessage = ({ data }) => {
  seen.push(JSON.parse(data).data)
  if (seen.at(-1) !== ${MESSAGES - 1}) return
  source.close()
  fetch('/seen', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ seen, opened }),
  })
}
source.addEventListener('gap', () => seen.push('gap'))
</script>`

async function portOf(server: Server): Promise<number> {
  if (!server.listening) await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A proxy that breaks off every connection after `ms`. */
function startCuttingProxy(target: number, ms: number): Server {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1')
    const cut = (): void => {
      client.destroy()
      upstream.destroy()
    }
    const timer = setTimeout(cut, ms)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', cut)
      socket.on('close', () => {
        clearTimeout(timer)
        sockets.delete(socket)
        cut()
      })
    }
    client.pipe(upstream).pipe(client)
  }).listen(0, '127.0.0.1')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server
}

async function openBrowser(url: string): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), 'turnpike-chromium-'))
  const browser = spawn(
    findChromium() ?? 'chromium',
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      url,
    ],
    { stdio: 'ignore' },
  )
  onTestFinished(async () => {
    const ended = once(browser, 'exit')
    browser.kill('SIGKILL')
    await ended
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  })
}

test('an EventSource behind a proxy that cuts every connection misses nothing, and gets nothing twice', async () => {
  await using redis = await startRedis()
  const tp = turnpike({ redis: redis.url })
  onTestFinished(() => tp.close())
  await tp.ready()
  const live = channels(tp)
  const app = express()
  let result: { seen: unknown[]; opened: number } | undefined
  const stream = sse(live, { topics: () => ['news', 'other'], retry: 50 })
  app.get('/', (_req, res) => void res.type('html').send(PAGE))
  app.get('/stream', stream)
  app.post('/seen', express.json(), (req, res) => {
    result = req.body
    res.sendStatus(204)
  })
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const proxy = startCuttingProxy(await portOf(server), 300)
  await openBrowser(`http://127.0.0.1:${await portOf(proxy)}/`)
  await until('the browser has connected', () => stream.size > 0, 30_000)
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (let n = 0; n < MESSAGES; n++) {
    await live.publish(n % 3 ? 'news' : 'other', n)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
  await until('the browser has seen the last one', () => result, 30_000)
  expect(result!.opened).toBeGreaterThan(3)
  expect(result!.seen).toHaveLength(MESSAGES)
  for (const topic of [0, 1]) {
    const ofTopic = (n: number): boolean => (n % 3 === 0) === (topic === 0)
    const expected = Array.from({ length: MESSAGES }, (_, n) => n).filter(ofTopic)
    expect((result!.seen as number[]).filter(ofTopic)).toEqual(expected)
  }
}, 90_000)
