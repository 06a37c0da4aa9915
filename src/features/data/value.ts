/** Values as entries hold them: bytes, text, everything else by a serializer. */
import { gunzip, gzip } from 'node:zlib'
import { promisify } from 'node:util'
import { TurnpikeError } from '../../errors.ts'

/** Turns values into text or bytes, and back. */
export interface DataSerializer {
  serialize(value: unknown): string | Buffer
  deserialize(bytes: Buffer): unknown
}

/** How a value was written. */
export interface Written {
  readonly kind: 'bytes' | 'text' | 'value'
  readonly packed: boolean
}

const json: DataSerializer = {
  serialize: (value) => JSON.stringify(value),
  deserialize: (bytes) => JSON.parse(bytes.toString('utf8')) as unknown,
}

const pack = promisify<Buffer, Buffer>(gzip)
const unpack = promisify<Buffer, Buffer>(gunzip)

/** @throws TP_VALUE for what cannot be written */
export async function write(
  value: unknown,
  packFrom: number,
  serializer: DataSerializer = json,
): Promise<{ written: Written; body: Buffer }> {
  const kind =
    Buffer.isBuffer(value) || value instanceof Uint8Array
      ? 'bytes'
      : typeof value === 'string'
        ? 'text'
        : 'value'
  const text: unknown = kind === 'value' ? serializer.serialize(value) : value
  if (text === undefined)
    throw new TurnpikeError(
      'TP_VALUE',
      `tp.data: a value of type ${typeof value} cannot be stored. Delete the key, or store null.`,
    )
  const body = typeof text === 'string' ? Buffer.from(text) : Buffer.from(text as Buffer)
  if (kind === 'bytes' || body.length < packFrom) return { written: { kind, packed: false }, body }
  const smaller = await pack(body)
  return smaller.length < body.length
    ? { written: { kind, packed: true }, body: smaller }
    : { written: { kind, packed: false }, body }
}

export async function read(
  { kind, packed }: Written,
  body: Buffer,
  serializer: DataSerializer = json,
): Promise<unknown> {
  const bytes = packed ? await unpack(body) : body
  if (kind === 'bytes') return Buffer.from(bytes)
  return kind === 'text' ? bytes.toString('utf8') : serializer.deserialize(bytes)
}
