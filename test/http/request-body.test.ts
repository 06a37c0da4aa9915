import { once } from 'node:events'
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import * as http2 from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { peekBody, watchUpload, type PeekedBody } from '../../src/http/request-body.ts'

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

/** Sends pieces, a moment apart. */
type Send = (pieces: readonly Buffer[], headers?: Record<string, string>) => Promise<Buffer>

/** A server that peeks twice, reads, and echoes. */
function listenerOf(read: Read | undefined, limit: number, seen: PeekedBody[]) {
  return (req: IncomingMessage, res: ServerResponse): void => {
    void (async () => {
      const body = await peekBody(req, limit)
      seen.push(body, await peekBody(req, limit))
      const bytes = read ? await read(req) : Buffer.from('unread')
      res.end(bytes)
    })().catch(() => res.destroy())
  }
}

const versions: Record<
  string,
  (listener: ReturnType<typeof listenerOf>) => Promise<{ send: Send; port: number }>
> = {
  async 'HTTP/1.1'(listener) {
    const server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => {
      agent.destroy()
      server.closeAllConnections()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const send: Send = async (pieces, headers = {}) => {
      const req = request({ port, method: 'POST', agent, headers })
      // It may be answered before its end arrives.
      const answered = once(req, 'response') as Promise<[IncomingMessage]>
      for (const piece of pieces) {
        req.write(piece)
        await new Promise((resolve) => setTimeout(resolve, 3))
      }
      req.end()
      const [res] = await answered
      return await readers['for await']!(res)
    }
    return { send, port }
  },
  async 'HTTP/2'(listener) {
    const server = http2.createServer(listener as never).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const session = http2.connect(`http://127.0.0.1:${port}`)
    onTestFinished(() => {
      session.destroy()
      server.close()
    })
    const send: Send = async (pieces, headers = {}) => {
      const stream = session.request({ ':method': 'POST', ...headers })
      const body = readers['for await']!(stream as never)
      for (const piece of pieces) {
        stream.write(piece)
        await new Promise((resolve) => setTimeout(resolve, 3))
      }
      stream.end()
      return await body
    }
    return { send, port }
  },
}

async function serve(
  read: Read | undefined,
  { limit = LIMIT, version = 'HTTP/1.1' }: { limit?: number; version?: string } = {},
) {
  const seen: PeekedBody[] = []
  return { ...(await versions[version]!(listenerOf(read, limit, seen))), seen }
}

const small = Buffer.from('{"a":1}')
const large = Buffer.alloc(700_000, 'x')

describe.each(
  Object.keys(versions).flatMap((version) =>
    Object.entries(readers).map(([name, read]) => [version, name, read] as const),
  ),
)('%s, read by %s', (version, _name, read) => {
  test.each([
    ['small', [small]],
    ['in pieces', [small.subarray(0, 2), small.subarray(2)]],
    ['large', [large]],
    ['none', []],
  ])('a body (%s) is seen and left', async (_size, pieces) => {
    const { send, seen } = await serve(read, { version })
    const whole = Buffer.concat(pieces)
    const framings = [{}, { 'Content-Length': String(whole.length) }]
    if (version === 'HTTP/1.1') framings.push({ 'Transfer-Encoding': 'chunked' } as never)
    for (const headers of framings) {
      expect((await send(pieces, headers)).equals(whole)).toBe(true)
      for (const body of seen.splice(0)) {
        expect(body).toMatchObject({ kind: 'raw', isWhole: true })
        expect((body as { bytes: Buffer }).bytes.equals(whole)).toBe(true)
      }
    }
  })

  test('of a body over the limit the beginning is seen, and all of it is left', async () => {
    const { send, seen } = await serve(read, { version })
    const pieces = [large, large, large, large, large]
    expect((await send(pieces)).length).toBe(3_500_000)
    expect(seen[0]).toMatchObject({ kind: 'raw', isWhole: false })
    expect((seen[0] as { bytes: Buffer }).bytes).toHaveLength(LIMIT)
  })
})

test('an unread body does not block the connection', async () => {
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

test('after a peek with a small limit, one with a larger limit sees more', async () => {
  const bodies: PeekedBody[] = []
  const server = createServer((req, res) => {
    void (async () => {
      for (const limit of [10, 5, 100_000, LIMIT]) bodies.push(await peekBody(req, limit))
      res.end(await readers['data']!(req))
    })()
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const answer = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: large })
  expect((await answer.arrayBuffer()).byteLength).toBe(large.length)
  expect(bodies.map((body) => body.kind === 'raw' && [body.bytes.length, body.isWhole])).toEqual([
    [10, false],
    [10, false],
    [100_000, false],
    [large.length, true],
  ])
})

describe('an upload', () => {
  /** Sends the head and a part of the body, and then what `how` says. */
  const cuts = {
    'that is cut': { length: 100, isBroken: true },
    'that has arrived, from a client that leaves': { length: 4, isBroken: false },
  }
  test.each(Object.entries(cuts))('%s, over HTTP/1.1', async (_name, { length, isBroken }) => {
    let result: boolean | undefined
    let size = 0
    const server = createServer((req, res) => {
      const isBrokenOff = watchUpload(req)
      req.on('error', () => {}).on('data', (chunk: Buffer) => (size += chunk.length))
      res.on('close', () => (result = isBrokenOff()))
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\nhalf`)
    await vi.waitFor(() => expect(size).toBe(4))
    socket.destroy()
    await vi.waitFor(() => expect(result).toBe(isBroken))
  })

  test.each(['read', 'not read'])('over HTTP/2, whose body is %s', async (how) => {
    const results: unknown[] = []
    const server = http2
      .createServer((req, res) => {
        setTimeout(() => {
          const isBrokenOff = watchUpload(req)
          if (how === 'read') req.resume()
          res.stream.on('close', () => results.push(isBrokenOff()))
        }, 10)
      })
      .listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      session.destroy()
      server.close()
    })
    for (const isWhole of [false, true]) {
      const stream = session.request({ ':method': 'POST' }).on('error', () => {})
      stream.write('half')
      if (isWhole) stream.end()
      await new Promise((resolve) => setTimeout(resolve, 40))
      stream.destroy()
      await vi.waitFor(() => expect(results).toHaveLength(1))
      expect(results.splice(0)).toEqual([!isWhole])
    }
  })
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
