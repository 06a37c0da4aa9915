/** Session ids: made, signed, verified, and where the store keeps what they name. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { KeySpace } from '../../store/keys.ts'

export type Secret = string | Buffer

/** Where one session is kept. */
export interface Place {
  readonly id: string
  /** The content of the keys' hash tag: the session, its user's index and not-before share a slot. */
  readonly tag: string
  /** The session in the index, and the end of its key: an id's hash, so that a dump of Redis is no login. */
  readonly member: string
  readonly session: string
  readonly index: string
  readonly bar: string
}

const TAG = 8
/** 22 characters of base64url are 132 bits of SHA-256. */
export const MEMBER = 22
const OWN_SHAPE = /^[\w-]{32,64}$/

const hash = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** A random tag, for sessions of nobody. */
const anyTag = (): string => randomBytes(6).toString('base64url')

/** A user's tag: all sessions made with this secret share it, and nobody can work out whose it is. */
export const tagOf = (user: string, secret: Secret): string =>
  createHmac('sha256', secret).update(`turnpike user ${user}`).digest('base64url').slice(0, TAG)

/** A new id: 8 characters of tag and 192 random bits. */
export const newId = (tag: string = anyTag()): string => tag + randomBytes(24).toString('base64url')

/** Where the session called `id` is. */
export function placeOf(keys: KeySpace, id: string, tenant?: string): Place {
  const hashed = hash(id)
  const own = OWN_SHAPE.test(id) ? id.slice(0, TAG) : hashed.slice(-TAG)
  return placeAt(keys, own, hashed.slice(0, MEMBER), id, tenant)
}

/** Where the session is that the list calls `handle`. Undefined if that is no handle. */
export function placeOfHandle(keys: KeySpace, handle: string, tenant?: string): Place | undefined {
  const parts = /^([\w-]{8})\.([\w-]{22})$/.exec(handle)
  return parts ? placeAt(keys, parts[1]!, parts[2]!, '', tenant) : undefined
}

export function placeAt(
  keys: KeySpace,
  own: string,
  member: string,
  id: string,
  tenant: string | undefined,
): Place {
  const tag = keys.tag(own, tenant)
  return {
    id,
    tag: own,
    member,
    session: keys.key('session', tag, member),
    index: keys.key('sessions', tag),
    bar: keys.key('session-bar', tag),
  }
}

/** What `tp.sessions` and events call a session: it finds it, but is no login. */
export const handleOf = ({ tag, member }: Place): string => `${tag}.${member}`

const signature = (id: string, secret: Secret): string =>
  createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')

/** A signed id in express-session's form: `s:<id>.<HMAC-SHA-256>`. */
export const signed = (id: string, secret: Secret): string => `s:${id}.${signature(id, secret)}`

/** The id of a cookie's plain value, and which secret signed it; undefined if none did. */
export function verified(
  value: string,
  secrets: readonly Secret[],
): { id: string; secret: number } | undefined {
  const dot = value.lastIndexOf('.')
  if (!value.startsWith('s:') || dot < 3) return undefined
  const id = value.slice(2, dot)
  const given = Buffer.from(value.slice(dot + 1))
  const secret = secrets.findIndex((each) => {
    const right = Buffer.from(signature(id, each))
    return right.length === given.length && timingSafeEqual(right, given)
  })
  return secret < 0 ? undefined : { id, secret }
}

/** Remembers the last `size` to twice `size` values. */
export class Memo<Value> {
  readonly #size: number
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()

  constructor(size: number) {
    this.#size = size
  }

  get(key: string): Value | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: Value): void {
    if (this.#young.size >= this.#size) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }
}
