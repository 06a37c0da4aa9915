/**
 * Keys of what processes say of themselves. They do not contain `version`, so that a person finds all
 * processes of an application, whatever their release.
 */
import { keyPart, type KeySpace } from '../store/keys.ts'
import { HOUR_MS } from './beat-operations.ts'

/** All keys share a hash slot: one script writes them. */
const ALL = 'all'
const MINUTE_MS = 60_000

/** Returns the key of the processes by time. */
export const processesKey = (keys: KeySpace): string => keys.key('processes', ALL)

/** Returns the key of what a process says of itself. */
export const processKey = (keys: KeySpace, id: string): string =>
  keys.key('process', ALL, keyPart(id))

/** Returns the key of a description. @param digest of the description */
export const descriptionKey = (keys: KeySpace, digest: string): string =>
  keys.key('description', ALL, keyPart(digest))

/** Returns the key of a minute's counts. @param at a moment of it, ms since the epoch */
export const minuteKey = (keys: KeySpace, at: number): string =>
  keys.key('minute', ALL, String(Math.floor(at / MINUTE_MS)))

/** Returns the key of the subjects that were refused in an hour. @param at a moment of it */
export const refusedKey = (keys: KeySpace, at: number): string =>
  keys.key('refused', ALL, String(Math.floor(at / HOUR_MS)))

/** Returns a name in a field or member: it has neither spaces nor colons. */
export const fieldPart = (name: string): string => keyPart(name)
