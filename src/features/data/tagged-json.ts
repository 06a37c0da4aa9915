/**
 * JSON for every value that can be distinguished or restored. What JSON has no form for is an object with
 * one `$` property: `{ "$date": 0 }`. Names of own properties that begin with `$` get another one.
 */
import { types } from 'node:util'
import { TurnpikeError } from '../../errors.ts'

/** How values are written. */
export interface TaggingOptions {
  /** True: two objects that differ only in the order of their properties are written alike. */
  readonly sortsKeys: boolean
  /** Returns the form of an instance of a class. Undefined: it cannot be written. */
  readonly instance: (value: object, write: (value: unknown) => unknown) => unknown
  /** Ends the error: what to do about a value that cannot be written. */
  readonly remedy: string
}

const MAX_DEPTH = 500
const VIEWS = [
  Uint8Array,
  Uint8ClampedArray,
  Uint16Array,
  Uint32Array,
  BigUint64Array,
  Int8Array,
  Int16Array,
  Int32Array,
  BigInt64Array,
  Float32Array,
  Float64Array,
] as const

/**
 * Returns the JSON of a value, and whether it is plain: JSON.parse alone restores it.
 * @throws TP_VALUE for functions, symbols, cycles, arrays with holes, instances of classes, and
 * objects with properties that JSON would drop
 */
export function toTaggedJson(
  value: unknown,
  options: TaggingOptions,
): { json: string; isPlain: boolean } {
  const writer = new Writer(options)
  const written = writer.write(value)
  return { json: JSON.stringify(written), isPlain: writer.isPlain }
}

class Writer {
  readonly #options: TaggingOptions
  readonly #path: object[] = []
  isPlain = true

  constructor(options: TaggingOptions) {
    this.#options = options
  }

  readonly write = (value: unknown): unknown => {
    switch (typeof value) {
      case 'boolean':
        return value
      case 'string':
        return value.isWellFormed()
          ? value
          : this.#tag('string', base64(Buffer.from(value, 'utf16le')))
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0)
          ? value
          : this.#tag('number', Object.is(value, -0) ? '-0' : String(value))
      case 'undefined':
        return this.#tag('undefined', true)
      case 'bigint':
        return this.#tag('bigint', String(value))
      case 'object':
        return value === null ? null : this.#object(value)
      default:
        throw this.#error(`a ${typeof value}`)
    }
  }

  #object(value: object): unknown {
    if (this.#path.includes(value)) throw this.#error('a value that contains itself')
    if (this.#path.length >= MAX_DEPTH)
      throw this.#error(`a value of more than ${MAX_DEPTH} levels`)
    this.#path.push(value)
    const written = this.#content(value)
    this.#path.pop()
    return written
  }

  #content(value: object): unknown {
    const prototype = Object.getPrototypeOf(value) as object | null
    if (prototype === null) return this.#tag('null', this.#properties(value))
    if (isPlain(prototype)) return this.#properties(value)
    if (Array.isArray(value) && isDirect(prototype, 'Array')) return this.#array(value)
    const builtIn = this.#builtIn(value, prototype)
    if (builtIn !== undefined) {
      if (ownNames(value).length > 0) throw this.#error('a built-in object with own properties')
      return builtIn
    }
    const instance = this.#options.instance(value, this.write)
    if (instance === undefined) throw this.#error(`an instance of ${classNameOf(value)}`)
    return instance
  }

  #builtIn(value: object, prototype: object): unknown {
    const isA = (name: string): boolean => isDirect(prototype, name)
    if (types.isDate(value) && isA('Date')) {
      const time = value.getTime()
      return this.#tag('date', Number.isNaN(time) ? null : time)
    }
    if (types.isMap(value) && isA('Map'))
      return this.#tag(
        'map',
        [...value].map((pair) => pair.map(this.write)),
      )
    if (types.isSet(value) && isA('Set')) return this.#tag('set', [...value].map(this.write))
    if (types.isRegExp(value) && isA('RegExp'))
      return this.#tag('regexp', [value.source, value.flags, value.lastIndex])
    if (value instanceof URL && isA('URL')) return this.#tag('url', value.href)
    if (types.isArrayBuffer(value) && isA('ArrayBuffer'))
      return this.#tag('bytes', ['ArrayBuffer', base64(Buffer.from(value))])
    if (!ArrayBuffer.isView(value)) return undefined
    const bytes = base64(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    if (Buffer.isBuffer(value)) return this.#tag('bytes', ['Buffer', bytes])
    const name = arrayNameOf(value)
    return name === undefined ? undefined : this.#tag('bytes', [name, bytes])
  }

  #tag(name: string, content: unknown): unknown {
    this.isPlain = false
    return { [`$${name}`]: content }
  }

  #array(value: readonly unknown[]): unknown {
    if (Object.keys(value).length !== value.length || ownNames(value).length !== value.length + 1)
      throw this.#error('an array with holes or own properties')
    return value.map(this.write)
  }

  #properties(value: object): unknown {
    const entries = Object.entries(value)
    if (ownNames(value).length !== entries.length)
      throw this.#error('an object with properties that JSON drops')
    if (this.#options.sortsKeys) entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return Object.fromEntries(entries.map(([name, each]) => [this.#name(name), this.write(each)]))
  }

  #name(name: string): string {
    if (!name.startsWith('$')) return name
    this.isPlain = false
    return `$${name}`
  }

  #error(what: string): TurnpikeError {
    return new TurnpikeError('TP_VALUE', `tp.data cannot use ${what}. ${this.#options.remedy}`)
  }
}

/** Returns whether a prototype is Object's, of this realm or another. */
const isPlain = (prototype: object): boolean =>
  Object.getPrototypeOf(prototype) === null && constructorName(prototype) === 'Object'

/** Returns whether a prototype is that of a built-in class, and not of a subclass. */
function isDirect(prototype: object, name: string): boolean {
  const parent = Object.getPrototypeOf(prototype) as object | null
  return constructorName(prototype) === name && parent !== null && isPlain(parent)
}

const constructorName = (prototype: object): string | undefined => {
  const create: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  return typeof create === 'function' ? create.name : undefined
}

/** Returns the name of a value's class. */
export const classNameOf = (value: object): string =>
  constructorName(Object(Object.getPrototypeOf(value)) as object) ?? 'a class'

/** Returns the name of a typed array's class, undefined for a subclass and everything else. */
export function arrayNameOf(value: unknown): string | undefined {
  if (!ArrayBuffer.isView(value)) return undefined
  const name = classNameOf(value)
  return VIEWS.some((view) => view.name === name) ? name : undefined
}

/** Names of own properties that are no part of a value's content. */
function ownNames(value: object): readonly PropertyKey[] {
  const names = Reflect.ownKeys(value)
  if (types.isRegExp(value)) return names.filter((name) => name !== 'lastIndex')
  return ArrayBuffer.isView(value)
    ? names.filter((name) => typeof name === 'symbol' || !/^\d+$/.test(name))
    : names
}

const base64 = (bytes: Buffer): string => bytes.toString('base64')

/** Returns the value of tagged JSON that was parsed. @throws TypeError for what is never written */
export function untagged(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(untagged)
  const [name, ...more] = Object.keys(json)
  const isTag = name !== undefined && more.length === 0 && /^\$[^$]/.test(name)
  return isTag ? restored(name, (json as Record<string, unknown>)[name]) : properties(json)
}

const properties = (json: object): object =>
  Object.fromEntries(
    Object.entries(json).map(([name, each]) => [
      name.startsWith('$') ? name.slice(1) : name,
      untagged(each),
    ]),
  )

function restored(tag: string, content: unknown): unknown {
  const list = Array.isArray(content) ? (content as readonly unknown[]) : []
  switch (tag) {
    case '$undefined':
      return undefined
    case '$string':
      return Buffer.from(String(content), 'base64').toString('utf16le')
    case '$number':
      return Number(content)
    case '$bigint':
      return BigInt(String(content))
    case '$date':
      return new Date(content === null ? NaN : Number(content))
    case '$map':
      return new Map(list.map((pair) => untagged(pair) as [unknown, unknown]))
    case '$set':
      return new Set(list.map(untagged))
    case '$regexp': {
      const [source, flags, lastIndex] = list
      const regexp = new RegExp(String(source), String(flags))
      return Object.assign(regexp, { lastIndex: Number(lastIndex) })
    }
    case '$url':
      return new URL(String(content))
    case '$null':
      return Object.assign(Object.create(null) as object, properties(Object(content) as object))
    case '$bytes':
      return restoredBytes(String(list[0]), Buffer.from(String(list[1]), 'base64'))
    default:
      throw new TypeError(`There is no value of kind ${tag}.`)
  }
}

/** Returns bytes as an instance of a class. @throws TypeError, RangeError for what is never written */
export function restoredBytes(kind: string, bytes: Buffer): unknown {
  if (kind === 'Buffer') return bytes
  // A copy of its own: typed arrays need aligned memory.
  const { buffer } = new Uint8Array(bytes)
  if (kind === 'ArrayBuffer') return buffer
  const view = VIEWS.find(({ name }) => name === kind)
  if (view === undefined) throw new TypeError(`There are no bytes of kind ${kind}.`)
  return new view(buffer)
}
