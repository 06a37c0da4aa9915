/** Hostile connections of HTTP/1.1: pipelined, malformed, slow, cut off anywhere. */
import type { Random } from './random.ts'
import type { HostileRequest } from './requests.ts'
import { ending, inPieces, type Step } from './script.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/** What hostile clients do to the head of a request, as it is written. */
const HEADS: readonly ((lines: string[], random: Random) => void)[] = [
  (lines) => void lines.splice(1, 1),
  (lines) => void lines.push('Host: other'),
  (lines) => void lines.splice(1, 0, 'Host: other'),
  (lines) => void lines.push('no field at all'),
  (lines) => void lines.push(' folded'),
  (lines) => void lines.push('Upgrade: h2c', 'Connection: upgrade, HTTP2-Settings'),
  (lines) => void lines.push('Upgrade: websocket', 'Connection: Upgrade'),
  (lines, random) => void lines.push(`Connection: ${random.pick(['close', 'x', 'keep-alive'])}`),
  (lines) => void lines.push('Expect: 100-continue'),
  (lines) => void (lines[0] = lines[0]!.replace('HTTP/1.1', 'HTTP/1.0')),
  (lines, random) =>
    void (lines[1 + random.int(lines.length - 1)] += random.pick(['\r', '\n', '\0', '\u00e9'])),
  (lines) => void lines.push('Content-Length: 0', 'Content-Length: 1'),
]

type Framing =
  | 'length'
  | 'chunked'
  | 'trailers'
  | 'both'
  | 'wrong chunk'
  | 'wrong length'
  | 'endless'

interface Encoded {
  head: Buffer
  body: Buffer
}

function encode(
  random: Random,
  { method, target, host, fields, body }: HostileRequest,
  isHostile: boolean,
): Encoded {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`]
  for (const [name, value] of fields) lines.push(`${name}: ${value}`)
  if (isHostile && random.chance(0.5)) random.pick(HEADS)(lines, random)
  const framing: Framing = random.pick(
    isHostile
      ? ['chunked', 'trailers', 'both', 'wrong chunk', 'wrong length', 'endless']
      : ['length', 'length', 'chunked'],
  )
  const written = body === undefined ? Buffer.alloc(0) : bodyBytes(random, lines, framing, body)
  return { head: latin1(`${lines.join('\r\n')}\r\n\r\n`), body: written }
}

/** Returns a body as it is written, and adds the fields that frame it. */
function bodyBytes(random: Random, lines: string[], framing: Framing, body: string): Buffer {
  const content = Buffer.from(body)
  if (framing === 'length' || framing === 'wrong length') {
    // A length that is too long leaves the request incomplete, one that is too short begins another.
    const wrong = framing === 'length' ? 0 : random.pick([1, 50, -1, 1e9])
    lines.push(`Content-Length: ${Math.max(0, content.length + wrong)}`)
    return content
  }
  lines.push('Transfer-Encoding: chunked')
  if (framing === 'both') lines.push(`Content-Length: ${content.length}`)
  if (framing === 'trailers') lines.push('Trailer: x-late')
  const size = framing === 'wrong chunk' ? 'zz' : content.length.toString(16)
  const chunk = content.length === 0 ? [] : [latin1(`${size}\r\n`), content, latin1('\r\n')]
  const end = { trailers: '0\r\nx-late: 1\r\nidempotency-key: late\r\n\r\n', endless: '' }
  return Buffer.concat([...chunk, latin1(end[framing as 'trailers'] ?? '0\r\n\r\n')])
}

/**
 * Returns what a client does with its connection.
 * @param deviations how much of that is hostile
 */
export function http1Script(
  random: Random,
  requests: readonly HostileRequest[],
  deviations: number,
): Step[] {
  const hostile = deviations > 0 && random.chance(0.4) ? random.int(requests.length) : -1
  const encoded = requests.map((request, i) => encode(random, request, i === hostile))
  const end = ending(random, hostile < 0)
  if (deviations > 0 && random.chance(0.35)) {
    let bytes = Buffer.concat(encoded.flatMap(({ head, body }) => [head, body]))
    if (random.chance(0.2)) bytes = Buffer.concat([bytes, random.bytes(random.int(200))])
    else if (random.chance(0.3)) bytes[random.int(bytes.length)] = random.int(256)
    else bytes = bytes.subarray(0, random.int(bytes.length))
    return [...inPieces(random, bytes), ...ending(random, false)]
  }
  const manner = random.pick(['packet', 'pipelined', 'in turn', 'in turn', 'slow'] as const)
  if (manner === 'packet')
    return [{ write: Buffer.concat(encoded.flatMap(({ head, body }) => [head, body])) }, ...end]
  const steps = encoded.flatMap(({ head, body }, i): Step[] => {
    const before: Step[] =
      manner === 'in turn' && i > 0 ? [{ wait: hostile < 0 ? 'answer' : 'bytes' }] : []
    if (manner !== 'slow' || body.length === 0)
      return [...before, ...inPieces(random, Buffer.concat([head, body]))]
    const middle = random.int(body.length)
    return [
      { write: head },
      { wait: random.int(3) },
      { write: body.subarray(0, middle) },
      { wait: random.int(5) },
      { write: body.subarray(middle) },
    ]
  })
  return [...steps, ...end]
}
