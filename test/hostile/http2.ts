/** Hostile connections of HTTP/2 (RFC 9113), with field blocks that need no table (RFC 7541). */
import type { Random } from './random.ts'
import type { HostileRequest } from './requests.ts'
import { ending, inPieces, type Step } from './script.ts'

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
const PADDED = 8

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const NOTHING = Buffer.alloc(0)
const MAX_FRAME = 16_384

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

const initialWindow = (size: number): Buffer => Buffer.concat([Buffer.from([0, 4]), uint32(size)])

/** What hostile clients do to the fields of a request. */
const BLOCKS: readonly ((block: Buffer[], random: Random) => void)[] = [
  (block, random) => void block.splice(random.int(4), 1),
  (block) => void block.push(field('Connection', 'close')),
  (block) => void block.push(field(':path', '/b')),
  (block) => void block.push(field('host', 'other')),
  (block) => void block.push(field('host', 'shop')),
  (block) => void block.push(field('te', 'gzip')),
  (block) => void block.push(field('transfer-encoding', 'chunked')),
  (block) => void block.push(field('content-length', '999')),
  (block) => void block.push(field(':protocol', 'websocket')),
]

function fieldBlock(
  random: Random,
  { method, target, host, fields }: HostileRequest,
  isHostile: boolean,
): Buffer {
  const block = [
    field(':method', method),
    field(':scheme', isHostile && random.chance(0.1) ? 'x' : 'http'),
    field(':path', target),
    field(':authority', host),
    // HTTP/2 has no names in upper case.
    ...fields.map(([name, value]) => field(isHostile ? name : name.toLowerCase(), value)),
  ]
  if (isHostile && random.chance(0.5)) random.pick(BLOCKS)(block, random)
  return Buffer.concat(block)
}

/** The frames of one stream. Of a hostile one, some are never ended, some are reset in the same packet. */
function stream(random: Random, id: number, request: HostileRequest, isHostile: boolean): Buffer[] {
  const block = fieldBlock(random, request, isHostile)
  const end = request.body === undefined ? END_STREAM : 0
  const frames: Buffer[] = []
  if (isHostile && random.chance(0.2)) {
    const at = random.int(block.length)
    frames.push(frame(HEADERS, end, id, block.subarray(0, at)))
    frames.push(frame(CONTINUATION, END_HEADERS, id, block.subarray(at)))
  } else frames.push(frame(HEADERS, END_HEADERS | end, id, block))
  if (request.body !== undefined)
    frames.push(...body(random, id, Buffer.from(request.body), isHostile))
  if (isHostile && random.chance(0.6))
    frames.push(frame(RST_STREAM, 0, id, uint32(random.pick([0, 2, 5, 8]))))
  return frames
}

function body(random: Random, id: number, content: Buffer, isHostile: boolean): Buffer[] {
  if (isHostile && random.chance(0.3)) return [frame(DATA, 0, id, content.subarray(0, 1))]
  const frames: Buffer[] = []
  for (let at = 0; at < content.length; at += MAX_FRAME)
    frames.push(frame(DATA, 0, id, content.subarray(at, at + MAX_FRAME)))
  const trailers = Buffer.concat([field('x-late', '1'), field('idempotency-key', 'late')])
  const end = random.pick(['trailers', 'padding', ...Array.from({ length: 8 }, () => 'plain')])
  if (end === 'trailers') frames.push(frame(HEADERS, END_HEADERS | END_STREAM, id, trailers))
  else if (end === 'padding')
    frames.push(frame(DATA, END_STREAM | PADDED, id, Buffer.from([3, 0, 0, 0])))
  else if (!isHostile || random.chance(0.8)) frames.push(frame(DATA, END_STREAM, id, NOTHING))
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
    () => frame(SETTINGS, 0, 0, initialWindow(random.int(70_000))),
    () => frame(200, 255, last, random.bytes(20)),
  ])()
}

/**
 * Returns what a client does with its connection.
 * @param deviations how much of that is hostile
 */
export function http2Script(
  random: Random,
  requests: readonly HostileRequest[],
  deviations: number,
): Step[] {
  // A window of nothing: no byte of a body can be sent until it is opened.
  const isClosed = deviations > 0 && random.chance(0.3)
  const hostile = deviations > 0 && random.chance(0.6) ? random.int(requests.length) : -1
  const frames = [PREFACE, frame(SETTINGS, 0, 0, isClosed ? initialWindow(0) : NOTHING)]
  const last = 2 * requests.length - 1
  for (const [i, request] of requests.entries()) {
    frames.push(...stream(random, 2 * i + 1, request, i === hostile))
    if (deviations > 0 && random.chance(0.15)) frames.push(connectionFrame(random, 2 * i + 1))
  }
  let bytes = Buffer.concat(frames)
  const isCut = deviations > 0 && random.chance(0.2)
  if (isCut) bytes = bytes.subarray(0, random.int(bytes.length))
  const end = ending(random, !isCut && hostile < 0)
  const steps = inPieces(random, bytes)
  if (isClosed && random.chance(0.5)) {
    const opened = [
      frame(SETTINGS, 0, 0, initialWindow(300_000)),
      frame(WINDOW_UPDATE, 0, 0, uint32(300_000)),
    ]
    steps.push({ wait: 'bytes' }, { wait: random.int(5) }, { write: Buffer.concat(opened) })
  }
  // A response is reset while it is on its way.
  if (deviations > 0 && random.chance(0.2))
    steps.push({ wait: 'bytes' }, { write: frame(RST_STREAM, 0, last, uint32(8)) })
  return [...steps, ...end]
}
