/** The bytes of hostile HTTP/1.1 connections: pipelined, malformed, cut off anywhere. */
import type { Random } from './random.ts'
import { randomRequest, type HostileRequest, type RequestSource } from './requests.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Returns the pieces that a client writes, one after the other. */
export function http1Bytes(random: Random, source: RequestSource): Buffer[] {
  const requests = Array.from({ length: random.pick([1, 1, 1, 2, 3, 5]) }, () =>
    encode(random, randomRequest(random, source)),
  )
  let bytes = Buffer.concat(requests)
  if (random.chance(0.03)) bytes = Buffer.concat([bytes, random.bytes(random.int(200))])
  if (random.chance(0.05)) bytes[random.int(bytes.length)] = random.int(256)
  if (random.chance(0.35)) bytes = bytes.subarray(0, random.int(bytes.length))
  return pieces(random, bytes)
}

/** Cuts bytes into one to four pieces. */
export function pieces(random: Random, bytes: Buffer): Buffer[] {
  const cuts = Array.from({ length: random.pick([0, 0, 0, 1, 1, 3]) }, () =>
    random.int(bytes.length + 1),
  )
  const ends = [...cuts.toSorted((a, b) => a - b), bytes.length]
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
}

function encode(random: Random, { method, target, host, fields, body }: HostileRequest): Buffer {
  const lines = [`${method} ${target} ${random.chance(0.03) ? 'HTTP/1.0' : 'HTTP/1.1'}`]
  if (!random.chance(0.02)) lines.push(`Host: ${host}`)
  if (random.chance(0.02)) lines.push('Host: other')
  for (const [name, value] of fields) lines.push(`${name}: ${value}`)
  if (random.chance(0.1))
    lines.push(`Connection: ${random.pick(['close', 'upgrade', 'x', 'keep-alive'])}`)
  if (random.chance(0.02)) lines.push('Upgrade: h2c')
  if (random.chance(0.01)) lines.push('no field at all')
  const head = (): Buffer => latin1(`${lines.join('\r\n')}\r\n\r\n`)
  if (body === undefined) return head()
  const content = Buffer.from(body)
  if (random.chance(0.3)) {
    lines.push('Transfer-Encoding: chunked')
    if (random.chance(0.1)) lines.push(`Content-Length: ${content.length}`)
    const size = random.chance(0.1) ? 'zz' : content.length.toString(16)
    const chunk = content.length === 0 ? [] : [latin1(`${size}\r\n`), content, latin1('\r\n')]
    return Buffer.concat([head(), ...chunk, latin1(random.chance(0.9) ? '0\r\n\r\n' : '0\r\n')])
  }
  // A length that is too long leaves the request incomplete, one that is too short begins another.
  const wrong = random.chance(0.15) ? random.pick([1, 50, -1, 1e9]) : 0
  lines.push(`Content-Length: ${Math.max(0, content.length + wrong)}`)
  return Buffer.concat([head(), content])
}
