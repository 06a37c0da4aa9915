/** The client's key, and whose it is. */
import { createHash } from 'node:crypto'
import { parseItem } from 'structured-headers'
import type { Exchange } from '../../http/exchange.ts'
import { addressSubject } from '../../http/client-address.ts'
import { nodeRequestOf } from '../../http/request-body.ts'

/** `malformed` says why. */
export type Key = { key: string; malformed?: undefined } | { key?: undefined; malformed?: string }

const LONGEST = 255
/** What may stand there without quotes: visible ASCII, but nothing that separates values. */
const RAW = /^[!#-+\--~]+$/

/**
 * The key of a request: a string by RFC 9651 (`"abc"`), as the draft (draft-ietf-httpapi-idempotency-key-header-07)
 * has it, or the bare text that most clients send. Both forms of one text are one key.
 */
export function keyOf<Native>(x: Exchange<Native>, header: string): Key {
  const field = x.header(header)
  if (field === undefined) return {}
  if (timesSent(x.native, header) > 1) return { malformed: 'it was sent more than once' }
  const value = field.trim()
  if (value === '') return { malformed: 'it is empty' }
  const key = value.startsWith('"') ? quoted(value) : RAW.test(value) ? value : undefined
  if (key === undefined)
    return { malformed: 'it is neither a string in quotes nor a word of visible ASCII' }
  if (key === '') return { malformed: 'it is empty' }
  if (key.length > LONGEST) return { malformed: `it is longer than ${LONGEST} characters` }
  return { key }
}

function quoted(value: string): string | undefined {
  try {
    const [item] = parseItem(value)
    return typeof item === 'string' ? item : undefined
  } catch {
    return undefined
  }
}

function timesSent(native: unknown, header: string): number {
  const { rawHeaders } = nodeRequestOf(native)
  let times = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length === header.length && name.toLowerCase() === header) times++
  }
  return times
}

type Id = string | number | undefined | null

/**
 * Whose key it is, in parts that no two kinds share. The client's address comes last: strangers may
 * share it.
 */
export function ownerOf<Native>(
  x: Exchange<Native>,
): readonly [kind: 'user' | 'authorization' | 'api-key' | 'address', who: string] {
  const { session, user, state } = x.native as {
    session?: { userId?: Id }
    user?: { id?: Id }
    state?: { user?: { id?: Id } }
  }
  const id = session?.userId ?? user?.id ?? state?.user?.id
  if (id !== undefined && id !== null) return ['user', String(id)]
  const authorization = x.header('authorization')
  if (authorization) return ['authorization', digest(authorization)]
  const apiKey = x.header('x-api-key')
  if (apiKey) return ['api-key', digest(apiKey)]
  return ['address', addressSubject(x.ip)]
}

/** Secrets do not stand in keys. */
const digest = (secret: string): string => createHash('sha256').update(secret).digest('base64url')
