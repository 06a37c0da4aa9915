/** Frames of HTTP/2 (RFC 9113), for clients that no library imitates. */

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** What a client sends first: the preface, and SETTINGS. */
export const PREFACE: Buffer = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, Buffer.alloc(0)),
])

/** GET / of http://a, in HPACK (RFC 7541). */
export const GET: Buffer = Buffer.from([0x82, 0x84, 0x86, 0x41, 0x01, 0x61])

/** Returns a header field in HPACK, as a literal that is not indexed. */
export function literal(name: string, value: string): Buffer {
  const text = (each: string): Buffer =>
    Buffer.concat([Buffer.from([each.length]), Buffer.from(each)])
  return Buffer.concat([Buffer.from([0]), text(name), text(value)])
}

/** HEADERS of the n-th request of a connection. They end its stream. */
export const headers = (n: number, fields: Buffer = GET): Buffer => frame(1, 5, 2 * n + 1, fields)

/** RST_STREAM with CANCEL, for the n-th request of a connection. */
export const cancel = (n: number): Buffer => frame(3, 0, 2 * n + 1, Buffer.from([0, 0, 0, 8]))
