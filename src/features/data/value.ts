/** Values as entries store them: bytes, strings, everything else by a serializer. */
import { createHash } from 'node:crypto'
import { gunzip, gzip, type ZlibOptions } from 'node:zlib'
import { promisify } from 'node:util'
import { TurnpikeError } from '../../errors.ts'
import { parseStoredJson } from '../../stored-json.ts'
import {
  arrayNameOf,
  classNameOf,
  restoredBytes,
  toTaggedJson,
  untagged,
  type TaggingOptions,
} from './tagged-json.ts'

/** Turns values into a string or bytes, and back. */
export interface DataSerializer {
  /** Returns a value's stored form. */
  serialize(value: unknown): string | Buffer
  /** Returns the value of a stored form. */
  deserialize(bytes: Buffer): unknown
}

/**
 * How a value is written: as bytes, as the bytes of a typed array, as a string, as JSON, as JSON with
 * tags, or by the namespace's serializer. `none`: the loader returned undefined.
 */
type ValueKind = 'bytes' | 'array' | 'string' | 'json' | 'tagged' | 'own' | 'none'

/** How a value is stored. */
export interface ValueForm {
  readonly kind: ValueKind
  readonly isPacked: boolean
  /** The length of the body before it was packed, in bytes. */
  readonly length: number
  /** The class of a typed array. */
  readonly array?: string
}

/** A value as it is stored. */
export interface StoredValue {
  readonly form: ValueForm
  readonly body: Buffer
  /** The body before it was packed. */
  readonly whole: Buffer
}

/** What callers share if the loader returned undefined. It is never stored. */
export const NO_VALUE: StoredValue = {
  form: { kind: 'none', isPacked: false, length: 0 },
  body: Buffer.alloc(0),
  whole: Buffer.alloc(0),
}

/** The largest value, in bytes. What a compressed body can expand to is up to its writer. */
const MAX_VALUE_BYTES = 64 * 1024 * 1024

const pack = promisify<Buffer, Buffer>(gzip)
const unpack = promisify<Buffer, ZlibOptions, Buffer>(gunzip)

/** Values: what cannot be restored is refused. */
const VALUES: TaggingOptions = {
  sortsKeys: false,
  instance: rowOf,
  remedy: 'Return plain data, or give the namespace a serializer.',
}

/** Arguments: values that cannot be distinguished are refused. */
const ARGUMENTS: TaggingOptions = {
  sortsKeys: true,
  instance: jsonOf,
  remedy: 'Give wrap() a key function.',
}

/**
 * Returns a value as it is stored. Bytes, typed arrays and values smaller than `packFrom` bytes are not compressed.
 * @throws TP_VALUE for what cannot be stored
 */
export async function encodeValue(
  value: unknown,
  packFrom: number,
  serializer: DataSerializer | undefined,
): Promise<StoredValue> {
  const { body: whole, ...written } = write(value, serializer)
  const { length } = whole
  if (length > MAX_VALUE_BYTES)
    throw new TurnpikeError('TP_VALUE', `tp.data: a value of ${length} bytes is too large.`)
  const form: ValueForm = { ...written, isPacked: false, length }
  const plain: StoredValue = { form, body: whole, whole }
  if (form.kind === 'bytes' || form.kind === 'array' || length < packFrom) return plain
  const body = await pack(whole)
  return body.length < length ? { form: { ...form, isPacked: true }, body, whole } : plain
}

interface WrittenValue extends Pick<ValueForm, 'kind' | 'array'> {
  readonly body: Buffer
}

function write(value: unknown, serializer: DataSerializer | undefined): WrittenValue {
  if (Buffer.isBuffer(value)) return { kind: 'bytes', body: Buffer.from(value) }
  if (typeof value === 'string' && value.isWellFormed())
    return { kind: 'string', body: Buffer.from(value) }
  if (serializer === undefined) {
    const array = arrayNameOf(value)
    if (array !== undefined) return writeArray(value as TypedArray, array)
    const { json, isPlain } = toTaggedJson(value, VALUES)
    return { kind: isPlain ? 'json' : 'tagged', body: Buffer.from(json) }
  }
  const written: unknown = serializer.serialize(value)
  if (typeof written !== 'string' && !(written instanceof Uint8Array))
    throw new TurnpikeError(
      'TP_VALUE',
      `tp.data: the serializer returned ${written === null ? 'null' : typeof written}, not a string or bytes.`,
    )
  return { kind: 'own', body: Buffer.from(written as string) }
}

interface TypedArray extends ArrayBufferView {
  readonly length: number
}

/** Copies the bytes of a typed array: embeddings are large, and JSON would make them larger. */
function writeArray(value: TypedArray, array: string): WrittenValue {
  // Its indexes are own properties, too. Anything else would be lost.
  if (Reflect.ownKeys(value).length !== value.length) toTaggedJson(value, VALUES)
  const { buffer, byteLength, byteOffset } = value
  return { kind: 'array', array, body: Buffer.from(Buffer.from(buffer, byteOffset, byteLength)) }
}

/** Returns the value of a stored form. @throws an error if it is broken, or too large to expand */
export async function decodeValue(
  { array = '', kind, isPacked, length }: ValueForm,
  body: Buffer,
  serializer: DataSerializer | undefined,
): Promise<unknown> {
  const maxOutputLength = Math.max(1, Math.min(length, MAX_VALUE_BYTES))
  const bytes = isPacked ? await unpack(body, { maxOutputLength }) : body
  switch (kind) {
    case 'bytes':
      return Buffer.from(bytes)
    case 'array':
      return restoredBytes(array, bytes)
    case 'string':
      return bytes.toString('utf8')
    case 'json':
      return parseStoredJson(bytes.toString('utf8'))
    case 'tagged':
      return untagged(parseStoredJson(bytes.toString('utf8')))
    case 'none':
      return undefined
    case 'own':
      if (serializer === undefined) throw new TypeError('The namespace has no serializer.')
      return serializer.deserialize(bytes)
    default:
      throw new TypeError('The value was stored in an unknown form.')
  }
}

/**
 * Returns a short name for any value: 32 characters of SHA-256. The order of properties does not matter.
 * @throws TP_VALUE for values that cannot be distinguished
 */
export const hashOf = (value: unknown): string =>
  createHash('sha256').update(toTaggedJson(value, ARGUMENTS).json).digest('base64url').slice(0, 32)

/** Returns an instance of a class that has nothing but data, as database drivers return rows. */
function rowOf(value: object, write: (value: unknown) => unknown): unknown {
  for (
    let prototype = Object.getPrototypeOf(value) as object | null;
    prototype !== null && Object.getPrototypeOf(prototype) !== null;
    prototype = Object.getPrototypeOf(prototype) as object | null
  ) {
    if (Reflect.ownKeys(prototype).some((name) => name !== 'constructor')) return undefined
  }
  const entries = Object.entries(value)
  // Without properties, all data is private.
  const isRow = entries.length > 0 && Reflect.ownKeys(value).length === entries.length
  return isRow ? write(Object.fromEntries(entries)) : undefined
}

/** Returns an instance that says itself what it is: ObjectId, Decimal and others. */
function jsonOf(value: object, write: (value: unknown) => unknown): unknown {
  const { toJSON } = value as { toJSON?: unknown }
  return typeof toJSON === 'function'
    ? { $json: [classNameOf(value), write((toJSON as () => unknown).call(value))] }
    : undefined
}
