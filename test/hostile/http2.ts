/** The frames of hostile HTTP/2 connections (RFC 9113), with field blocks that need no table (RFC 7541). */
import { pieces } from './http1.ts'
import type { Random } from './random.ts'
import { randomRequest, type HostileRequest, type RequestSource } from './requests.ts'

const DATA = 0
const HEADERS = 1
const PRIORITY = 2
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const GOAWAY = 7
const WINDOW_UPDATE = 8
const CONTINUATION = 9
const END_STREAM = 1
const END_HEADERS = 4

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const NOTHING = Buffer.alloc(0)

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A string literal without Huffman coding. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128)
  length.push(rest)
  return Buffer.concat([Buffer.from(length), bytes])
}

/** A literal field that is not indexed. */
const field = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0]), literal(name), literal(value)])

function fieldBlock(random: Random, { method, target, host, fields }: HostileRequest): Buffer {
  const block = [
    field(':method', method),
    field(':scheme', random.chance(0.05) ? 'x' : 'http'),
    field(':path', target),
    field(':authority', host),
    ...fields.map(([name, value]) => field(name, value)),
  ]
  if (random.chance(0.04)) block.splice(random.int(4), 1)
  if (random.chance(0.04))
    block.push(random.pick([field('Connection', 'close'), field(':path', '/b')]))
  if (random.chance(0.05)) block.push(field('host', 'other'))
  return Buffer.concat(block)
}

/** The frames of one stream. Some are never ended, some are reset in the same packet. */
function stream(random: Random, id: number, source: RequestSource): Buffer[] {
  const request = randomRequest(random, source)
  const block = fieldBlock(random, request)
  const end = request.body === undefined ? END_STREAM : 0
  const frames: Buffer[] = []
  if (random.chance(0.1)) {
    const at = random.int(block.length)
    frames.push(frame(HEADERS, end, id, block.subarray(0, at)))
    frames.push(frame(CONTINUATION, END_HEADERS, id, block.subarray(at)))
  } else frames.push(frame(HEADERS, END_HEADERS | end, id, block))
  if (request.body !== undefined) {
    const body = Buffer.from(request.body)
    if (random.chance(0.2)) frames.push(frame(DATA, 0, id, body.subarray(0, 1)))
    else frames.push(frame(DATA, random.chance(0.9) ? END_STREAM : 0, id, body))
  }
  if (random.chance(0.35)) frames.push(frame(RST_STREAM, 0, id, uint32(random.pick([0, 2, 5, 8]))))
  return frames
}

/**
 * A frame of the connection. None is malformed: Node's sessions leak at some of those, and Node 20
 * aborts when it collects them, whatever they serve.
 */
function connectionFrame(random: Random, last: number): Buffer {
  return random.pick([
    () => frame(GOAWAY, 0, 0, Buffer.concat([uint32(last), uint32(random.int(14))])),
    () => frame(PING, 0, 0, random.bytes(8)),
    () => frame(WINDOW_UPDATE, 0, random.pick([0, last]), uint32(1 + random.int(1000))),
    () => frame(PRIORITY, 0, last, Buffer.from([0, 0, 0, 0, 1])),
    () => frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(random.int(70_000))])),
    () => frame(200, 255, last, random.bytes(20)),
  ])()
}

/** Returns the pieces that a client writes, one after the other. */
export function http2Bytes(random: Random, source: RequestSource): Buffer[] {
  // A window of nothing: no byte of a body can be sent.
  const isSlow = random.chance(0.2)
  const window = Buffer.concat([Buffer.from([0, 4]), uint32(0)])
  const frames = [PREFACE, frame(SETTINGS, 0, 0, isSlow ? window : NOTHING)]
  const streams = random.pick([1, 1, 2, 3, 6])
  for (let i = 0; i < streams; i++) {
    frames.push(...stream(random, 2 * i + 1, source))
    if (random.chance(0.08)) frames.push(connectionFrame(random, 2 * i + 1))
  }
  let bytes = Buffer.concat(frames)
  if (random.chance(0.3)) bytes = bytes.subarray(0, random.int(bytes.length))
  return pieces(random, bytes)
}
