/** Content codings (RFC 9110, 8.4): which a client accepts, and compressing and decoding stored bodies. */
import { brotliDecompress, gunzip, gzip, gzipSync, inflate, type ZlibOptions } from 'node:zlib'
import { promisify } from 'node:util'

const COMPRESSIBLE =
  /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:json|xml|javascript|x-javascript|ld)|image\/svg\+xml)/i
const MIN_BYTES = 1024
/** Compressing this much takes less than a millisecond. More is done outside the event loop. */
const MAX_SYNC_BYTES = 32_768
/** What a small body can expand to is up to its sender. More than this is not decoded. */
export const MAX_DECODED_BYTES: number = 16 * 1024 * 1024

/**
 * Returns whether a client accepts a coding (RFC 9110, 12.5.3). Without the field it accepts any, but
 * `identity` is what every client can read.
 */
export function acceptsCoding(acceptEncoding: string | undefined, coding: string): boolean {
  if (acceptEncoding === undefined) return coding === 'identity'
  let any: boolean | undefined
  for (const member of acceptEncoding.toLowerCase().split(',')) {
    const [name, ...parameters] = member.split(';').map((part) => part.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    const isAccepted = weight === undefined || Number(weight.slice(2)) > 0
    if (name === coding || (coding === 'gzip' && name === 'x-gzip')) return isAccepted
    if (name === '*') any = isAccepted
  }
  return any ?? coding === 'identity'
}

/** Returns a body in gzip. Undefined: it is too small, no text, or compressing does not help. */
export function compress(
  body: Buffer,
  contentType: string,
): Buffer | undefined | Promise<Buffer | undefined> {
  if (body.length <= MIN_BYTES || !COMPRESSIBLE.test(contentType)) return undefined
  const ifSmaller = (packed: Buffer): Buffer | undefined =>
    packed.length < body.length * 0.9 ? packed : undefined
  if (body.length <= MAX_SYNC_BYTES) return ifSmaller(gzipSync(body, { level: 1 }))
  return promisify(gzip)(body, { level: 1 }).then(ifSmaller)
}

type Decoder = (body: Buffer, options: ZlibOptions) => Promise<Buffer>

const DECODERS: Record<string, Decoder> = {
  gzip: promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  'x-gzip': promisify<Buffer, ZlibOptions, Buffer>(gunzip),
  br: promisify<Buffer, ZlibOptions, Buffer>(brotliDecompress),
  deflate: promisify<Buffer, ZlibOptions, Buffer>(inflate),
}

/** Returns whether a body in this coding can be decoded here. */
export const isDecodable = (coding: string): boolean => Object.hasOwn(DECODERS, coding)

/**
 * Decodes a body.
 * @throws ERR_BUFFER_TOO_LARGE if it expands to more than `maxBytes`; an error of zlib if it is broken
 */
export const decode = async (
  body: Buffer,
  coding: string,
  maxBytes: number = MAX_DECODED_BYTES,
): Promise<Buffer> => await DECODERS[coding]!(body, { maxOutputLength: Math.max(1, maxBytes) })
