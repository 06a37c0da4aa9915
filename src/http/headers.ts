import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { FieldReader, HeaderFields } from './exchange.ts'

/** A field as node keeps it. */
export type FieldValue = number | string | readonly string[]
/** Fields as `res.getHeaders()` returns them, with names in lower case. */
export type NodeHeaders = Record<string, FieldValue | undefined>

/**
 * Returns a request header. Repeated ones are joined with a comma. What every object has is none: Vary
 * and options may name `constructor`.
 * @param name in lower case
 */
export function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.join(', ') : undefined
}

/** Fields to which each middleware of a stack may add members (RFC 9110, 5.6.1). */
const lists: ReadonlySet<string> = new Set([
  'cache-status',
  'ratelimit',
  'ratelimit-policy',
  'vary',
])

/** Returns true if several middlewares may add to this field. @param name in lower case */
export const isListField = (name: string): boolean => name === 'set-cookie' || lists.has(name)

/** Fields that belong to one connection or one moment, not to the response. */
const fleeting: ReadonlySet<string> = new Set([
  'connection',
  'date',
  'keep-alive',
  'transfer-encoding',
])

/**
 * Returns the value of a field after `added` is merged into it. `Set-Cookie` and lists grow without
 * duplicates. Every other field is replaced.
 *
 * @param name in lower case
 */
export function mergeField(
  name: string,
  present: FieldValue | undefined,
  added: string | readonly string[],
): string | string[] {
  if (name === 'set-cookie') return union(values(present), values(added))
  if (!lists.has(name)) return typeof added === 'string' ? added : [...added]
  if (present === undefined && typeof added === 'string') return added
  const members = name === 'vary' ? varyMembers : values
  const all = union(members(present), members(added))
  return name === 'vary' && all.includes('*') ? '*' : all.join(', ')
}

function values(value: FieldValue | undefined): string[] {
  if (value === undefined) return []
  return typeof value === 'object' ? [...value] : [String(value)]
}

function varyMembers(value: FieldValue | undefined): string[] {
  return values(value).flatMap((line) => line.split(',').map((name) => name.trim()))
}

/** Field names differ in case only, cookies and list members in everything. */
function union(present: string[], added: string[]): string[] {
  const all = [...present]
  for (const one of added) {
    const known = all.some((other) => other === one || (isToken(one) && sameName(other, one)))
    if (!known) all.push(one)
  }
  return all
}

function isToken(text: string): boolean {
  return /^[\w-]+$/.test(text)
}

function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

/** Returns the fields that are new or changed in `after`. Of cookies, only the new ones. */
export function addedFields(before: NodeHeaders, after: NodeHeaders): HeaderFields {
  const changed: HeaderFields = {}
  for (const name in after) {
    const value = after[name]
    const old = before[name]
    if (value === undefined || value === old || fleeting.has(name)) continue
    if (name === 'set-cookie') {
      const known = values(old)
      const cookies = values(value).filter((cookie) => !known.includes(cookie))
      if (cookies.length > 0) changed[name] = cookies
    } else if (!same(old, value)) {
      changed[name] = typeof value === 'object' ? value : String(value)
    }
  }
  return changed
}

function same(one: FieldValue | undefined, other: FieldValue): boolean {
  if (typeof one !== 'object' || typeof other !== 'object') return one === other
  return one.length === other.length && one.every((value, index) => value === other[index])
}

/** A copy that later changes do not reach: node and `cookies` add to lists in place. */
export function cloneFields(fields: NodeHeaders): NodeHeaders {
  for (const name in fields) {
    const value = fields[name]
    if (typeof value === 'object') fields[name] = [...value]
  }
  return fields
}

/** Header fields of a feature, computed when the head is sent. */
export interface LateHeaders {
  readonly compute: (field: FieldReader) => HeaderFields
  /** The fields, once computed. Work before the head or the end may change them. */
  fields: HeaderFields | undefined
  /** They could not be computed. */
  hasFailed: boolean
}

/** Returns a feature's fields, computed once. */
export const lateFields = (late: LateHeaders, res: ServerResponse): HeaderFields =>
  (late.fields ??= computeFields(late, fieldsOf(res)))

/**
 * Computes a feature's fields. An error is thrown once: the response to the failed request must be
 * sent without them, or its error would find no handler and end the process.
 */
export function computeFields(late: LateHeaders, field: FieldReader): HeaderFields {
  if (late.hasFailed) return {}
  try {
    return late.compute(field)
  } catch (error) {
    late.hasFailed = true
    throw error
  }
}

/** Returns the reader of the fields that are set. */
export const fieldsOf =
  (res: ServerResponse): FieldReader =>
  (name) =>
    values(res.getHeader(name)).join(', ') || undefined

/** Sets fields now. `Set-Cookie` and lists add to what is there. */
export function addFields(res: ServerResponse, headers: HeaderFields): void {
  for (const name in headers) {
    const value = headers[name] as string | string[]
    const field = name.toLowerCase()
    const present =
      typeof value === 'string' && !isListField(field) ? undefined : res.getHeader(name)
    const isFirst = present === undefined && typeof value === 'string'
    res.setHeader(name, isFirst ? value : mergeField(field, present, value))
  }
}

/** Returns whether a response has no body by its nature (RFC 9110, 6.4.1). */
export function isBodiless(method: string | undefined, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304 || status < 200
}

/** Returns whether the head of a response tells that there is no body. */
export const isEmptyBody = (res: ServerResponse): boolean =>
  isBodiless(res.req?.method, res.statusCode) || Number(res.getHeader('content-length')) === 0

/**
 * Returns true if the client prefers `text/plain` to JSON (RFC 9110, 12.5.1). Without a preference
 * the answer is JSON.
 */
export function prefersText(accept: string | undefined): boolean {
  if (accept === undefined) return false
  const ranges = accept.toLowerCase()
  if (!ranges.includes('text/')) return false
  const quality = new Map(ranges.split(',').map(range))
  const any = quality.get('*/*') ?? 0
  const text = quality.get('text/plain') ?? quality.get('text/*') ?? any
  const application = quality.get('application/*') ?? any
  const json = quality.get('application/json') ?? application
  const problem = quality.get('application/problem+json') ?? application
  return text > Math.max(json, problem)
}

function range(text: string): [type: string, quality: number] {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim())
  const weight = parameters.find((parameter) => parameter.startsWith('q='))
  const quality = weight === undefined ? 1 : Number(weight.slice(2))
  return [type, quality >= 0 && quality <= 1 ? quality : 0]
}

/**
 * Sets the fields that were passed to `writeHead`, so that ours can join them.
 * @returns the remaining arguments: the status and the reason, if there is one
 */
export function adoptFields(res: ServerResponse, args: readonly unknown[]): unknown[] {
  const { reason, fields } = parseWriteHeadArguments(args)
  for (const [name, value] of fields) res.setHeader(name, value)
  if (reason === undefined) return [args[0]]
  res.statusMessage = reason
  return [args[0], reason]
}

/**
 * Returns the reason and the fields of `res.writeHead`'s arguments. Fields are an object, a flat list
 * of names and values, or a list of pairs. In a list, a repeated name adds a value.
 */
export function parseWriteHeadArguments([, second, third]: readonly unknown[]): {
  reason: string | undefined
  fields: [name: string, value: string | string[]][]
} {
  const reason = typeof second === 'string' ? second : undefined
  const given = reason === undefined ? (second ?? third ?? {}) : (third ?? {})
  if (!Array.isArray(given)) return { reason, fields: Object.entries(given) }
  const flat: unknown[] = Array.isArray(given[0]) ? given.flat(1) : given
  if (flat.length % 2 !== 0) throw new TypeError('writeHead: a field has no value')
  const fields = new Map<string, [string, string | string[]]>()
  for (let index = 0; index < flat.length; index += 2) {
    const name = String(flat[index])
    const value = flat[index + 1] as string | string[]
    const known = fields.get(name.toLowerCase())
    if (known === undefined) fields.set(name.toLowerCase(), [name, value])
    else known[1] = [known[1], value].flat()
  }
  return { reason, fields: [...fields.values()] }
}
