/**
 * Random clients: uploads in pieces, several requests in one packet, connections that end at any
 * byte. SEED=<number> repeats a run.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { apps } from '../support/apps.ts'
import { bothEngines } from '../support/engines.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const CONNECTIONS = Number(process.env['RUNS'] ?? 60)
const KEYS = 20
const LIMIT = 6

/** A generator of numbers below 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let n = Math.imul(state ^ (state >>> 15), 1 | state)
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n
    return ((n ^ (n >>> 14)) >>> 0) / 2 ** 32
  }
}

const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)
beforeAll(() => {
  console.log(`connection fuzz: SEED=${SEED}`)
  process.on('unhandledRejection', note)
})
afterAll(() => {
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

/** Reads a body to its end. Rejects if the client leaves before. */
async function bodyOf(req: IncomingMessage): Promise<number> {
  let size = 0
  for await (const chunk of req) size += (chunk as Buffer).length
  return size
}

/** Returns a request as a client sends it. All with one key have the same body and framing. */
function requestText(key: number, random: () => number): Buffer {
  const body = Buffer.alloc(key % 3 === 0 ? 200_000 : key % 3 === 1 ? 0 : 500, String(key % 10))
  const isChunked = key % 2 === 1
  const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
  const head = `POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k${key}\r\nX-Key: ${key}\r\nX-Random: ${random()}\r\n${framing}\r\n\r\n`
  const chunk = body.length === 0 ? '' : `${body.length.toString(16)}\r\n${String(body)}\r\n`
  return Buffer.from(isChunked ? `${head}${chunk}0\r\n\r\n` : `${head}${String(body)}`)
}

/** One client: sends a few requests in pieces, and ends its connection at any byte. */
async function connection(port: number, random: () => number): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.resume()
  await once(socket, 'connect')
  const requests = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
    requestText(Math.floor(random() * KEYS), random),
  )
  const all = Buffer.concat(requests)
  const end = random() < 0.4 ? all.length : Math.floor(random() * all.length)
  let sent = 0
  while (sent < end && !socket.destroyed) {
    const size = random() < 0.5 ? end : 1 + Math.floor(random() * 30_000)
    socket.write(all.subarray(sent, Math.min(end, sent + size)))
    sent += size
    if (random() < 0.5) await wait(random() * 4)
  }
  await wait(random() * 15)
  const how = random()
  if (how < 0.3) socket.destroy()
  else if (how < 0.6) socket.resetAndDestroy()
  else socket.end()
  await Promise.race([once(socket, 'close').catch(() => {}), wait(200)])
  socket.destroy()
}

const kinds = apps.filter(({ name }) => /Express|Koa 3/.test(name))

describe.each(bothEngines())('on the $name engine', ({ open }) => {
  describe.each(kinds)('$name', ({ start }) => {
    test('whatever clients do, each key has one effect, and no lease stays held', async () => {
      const random = randomFrom(SEED)
      const { store, prefix, advance } = open()
      const effects = new Map<string, number>()
      let running = 0
      let gate: Promise<void> | undefined
      const app = start({
        options: { store, prefix },
        mount: (tp) => [
          tp.concurrency({ limit: LIMIT, lease: '3s', maxLease: '6s' }),
          tp.exclusive({ key: (native: any) => String(native.headers['x-key']), lease: '3s' }),
          tp.idempotency({ scope: () => 'me', maxRequestBytes: 1000, lease: '1m' }),
        ],
        async handle(native) {
          running++
          try {
            const { 'x-key': key, 'x-random': chance } = native.headers
            if (gate) await gate
            await bodyOf(native.req ?? native)
            await wait(Number(chance) * 10)
            if (Number(chance) < 0.1) throw new Error('before the effect')
            effects.set(key, (effects.get(key) ?? 0) + 1)
            if (Number(chance) > 0.7) await wait(5)
            return [201, { key }]
          } finally {
            running--
          }
        },
      })
      await vi.waitFor(() => expect(app.server.listening).toBe(true))
      const { port } = app.server.address() as AddressInfo
      let left = CONNECTIONS
      await Promise.all(
        Array.from({ length: 5 }, async () => {
          while (left-- > 0) await connection(port, random)
        }),
      )
      await vi.waitFor(() => expect(running).toBe(0), 5000)
      // A lock whose client has left is not renewed any more.
      for (let i = 0; i < 8; i++) {
        await advance('900ms')
        await wait(2)
      }

      async function post(key: number): Promise<number> {
        const socket = connect(port, '127.0.0.1')
        socket.write(requestText(key, () => 0.5))
        let text = ''
        socket.on('data', (chunk) => (text += String(chunk)))
        await vi.waitFor(() => expect(text).toMatch(/^HTTP\/1\.1 \d{3} [^]*\r\n\r\n/), 5000)
        socket.destroy()
        return Number(text.slice(9, 12))
      }
      for (let key = 0; key < KEYS; key++) {
        expect([key, await app.tp.locks.holder(String(key)), SEED]).toEqual([key, undefined, SEED])
        expect([key, await post(key), SEED]).toEqual([key, 201, SEED])
        expect([key, effects.get(String(key)), SEED]).toEqual([key, 1, SEED])
      }
      // All permits are free: so many requests are inside at once.
      let letIn = (): void => {}
      gate = new Promise((resolve) => (letIn = resolve))
      const inside = Array.from({ length: LIMIT }, (_, i) => post(KEYS + i))
      await vi.waitFor(() => expect([running, SEED]).toEqual([LIMIT, SEED]), 5000)
      letIn()
      expect(await Promise.all(inside)).toEqual(Array.from({ length: LIMIT }, () => 201))
    }, 60_000)
  })
})
