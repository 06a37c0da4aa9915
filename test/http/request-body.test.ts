import { once } from 'node:events'
import { Agent, createServer, request, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { peekBody, type PeekedBody } from '../../src/http/request-body.ts'

type Read = (req: IncomingMessage) => Promise<Buffer>

/** How those who come later may read. */
const readers: Record<string, Read> = {
  data: (req) =>
    new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => resolve(Buffer.concat(chunks)))
      req.on('error', reject)
    }),
  'for await': async (req) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks)
  },
  pipe: async (req) =>
    await readers['for await']!(req.pipe(new PassThrough()) as unknown as IncomingMessage),
  readable: async (req) => {
    const chunks: Buffer[] = []
    req.on('readable', () => {
      for (
        let chunk = req.read() as Buffer | null;
        chunk !== null;
        chunk = req.read() as Buffer | null
      )
        chunks.push(chunk)
    })
    await once(req, 'end')
    return Buffer.concat(chunks)
  },
  'later data': async (req) => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return await readers['data']!(req)
  },
}

const LIMIT = 1_000_000

async function serve(read: Read | undefined, limit = LIMIT) {
  const seen: PeekedBody[] = []
  const server = createServer((req, res) => {
    void (async () => {
      const body = await peekBody(req, limit)
      seen.push(body, await peekBody(req, limit))
      const bytes = read ? await read(req) : Buffer.from('unread')
      if (!read && !req.complete) req.resume()
      res.end(bytes)
    })().catch(() => res.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => {
    agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  /** Send pieces, a moment apart. */
  async function send(
    pieces: readonly Buffer[],
    headers: Record<string, string> = {},
  ): Promise<Buffer> {
    const req = request({ port, method: 'POST', agent, headers })
    // It may be answered before it is told that it has ended.
    const answered = once(req, 'response') as Promise<[IncomingMessage]>
    for (const piece of pieces) {
      req.write(piece)
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
    req.end()
    const [res] = await answered
    return await readers['for await']!(res)
  }
  return { send, seen, port }
}

const small = Buffer.from('{"a":1}')
const large = Buffer.alloc(700_000, 'x')

describe.each(Object.entries(readers))('read by %s', (_name, read) => {
  test.each([
    ['small', [small]],
    ['in pieces', [small.subarray(0, 2), small.subarray(2)]],
    ['large', [large]],
    ['none', []],
  ])('a body (%s) is seen and left', async (_size, pieces) => {
    const { send, seen } = await serve(read)
    const whole = Buffer.concat(pieces)
    for (const headers of [{}, { 'Content-Length': String(whole.length) }]) {
      expect((await send(pieces, headers)).equals(whole)).toBe(true)
      for (const body of seen.splice(0)) {
        expect(body).toMatchObject({ kind: 'raw', isWhole: true })
        expect((body as { bytes: Buffer }).bytes.equals(whole)).toBe(true)
      }
    }
  })

  test('of a body over the limit the beginning is seen, and all of it is left', async () => {
    const { send, seen } = await serve(read)
    const pieces = [large, large, large, large, large]
    expect((await send(pieces)).length).toBe(3_500_000)
    expect(seen[0]).toMatchObject({ kind: 'raw', isWhole: false })
    expect((seen[0] as { bytes: Buffer }).bytes).toHaveLength(LIMIT)
  })
})

test('a body that nobody reads does not block the connection', async () => {
  const { send } = await serve(undefined)
  for (const pieces of [[small], [large, large, large, large], [small]])
    expect((await send(pieces)).toString()).toBe('unread')
})

test('a client that goes away meanwhile ends the wait', async () => {
  const { port, seen } = await serve(readers['data'])
  const ended = vi.fn()
  const socket = connect(port, '127.0.0.1', () => {
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf')
    setTimeout(() => socket.destroy(), 20)
  })
  socket.on('close', ended)
  await vi.waitFor(() => expect(ended).toHaveBeenCalled())
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(seen).toEqual([])
})

test('what a parser has left is seen: bytes and text as such, the rest as it is', async () => {
  const read = { readableDidRead: true, headers: {} }
  expect(await peekBody({ ...read, body: { a: 1 } }, 10)).toEqual({
    kind: 'parsed',
    value: { a: 1 },
  })
  expect(await peekBody({ ...read, body: 'text' }, 10)).toEqual({
    kind: 'raw',
    bytes: Buffer.from('text'),
    isWhole: true,
  })
  expect(await peekBody({ ...read, body: { a: 1 }, rawBody: small }, 10)).toEqual({
    kind: 'raw',
    bytes: small,
    isWhole: true,
  })
  expect(await peekBody({ req: { ...read }, request: { body: [1] } }, 10)).toEqual({
    kind: 'parsed',
    value: [1],
  })
  expect(await peekBody({ ...read }, 10)).toEqual({ kind: 'unseen' })
})
