/** IDs of users: what counts as one, and the string that keys and tokens contain. */
import { TurnpikeError } from './errors.ts'

/**
 * ID of a user: a string that is not empty, a finite number, a bigint, or an ObjectId of MongoDB. `7`,
 * `7n` and `'7'` are one user. An object counts as its `toHexString()`. Objects without it are no IDs,
 * because their `toString()` is often equal for different users.
 */
export type UserId =
  | string
  | number
  | bigint
  | {
      /** Returns the ID as a string. */
      toHexString(): string
    }

/** Completes the sentence "The user must be ...". */
export const USER_ID = 'a string that is not empty, a finite number, a bigint, or an ObjectId'

/** Returns the string of a user's ID, undefined for what is none. */
export function userIdString(id: unknown): string | undefined {
  if (typeof id === 'string') return id === '' ? undefined : id
  if (typeof id === 'number') return Number.isFinite(id) ? String(id) : undefined
  if (typeof id === 'bigint') return String(id)
  if (typeof id !== 'object' || id === null) return undefined
  const { toHexString } = id as { toHexString?: unknown }
  if (typeof toHexString !== 'function') return undefined
  const hex: unknown = toHexString.call(id)
  return typeof hex === 'string' && hex !== '' ? hex : undefined
}

/** @throws TP_KEY for what is no user's ID */
export function requireUserId(id: unknown, where: string): string {
  const name = userIdString(id)
  if (name !== undefined) return name
  throw new TurnpikeError('TP_KEY', `${where}: the user must be ${USER_ID}. ${shown(id)}`)
}

/** Returns a bigint or an ObjectId as its string, and everything else unchanged. */
export const plainUserId = (id: unknown): unknown =>
  typeof id === 'bigint' || typeof id === 'object' ? (userIdString(id) ?? id) : id

/** Returns true for what applications leave where nobody is logged in. */
export const isNoUser = (id: unknown): boolean =>
  id === undefined || id === null || id === false || id === ''

function shown(id: unknown): string {
  if (Array.isArray(id)) return 'It is a list.'
  if (typeof id === 'object' && id !== null)
    return 'It is an object. Return its ID, and no promise.'
  return `It is ${id === '' ? 'an empty string' : `of type ${typeof id}`}.`
}
