/** A request with its key, as the in-process engine keeps it; the fields are explained in begin.lua. */
import type { Arg, Database } from '../../store/store.ts'

export interface Record {
  state: 'p' | 'r' | 'c' | 'm'
  fingerprint: string
  owner: string
  leaseEnds: number
  token: number
  attempt: number
  ends: number
  /** Status and headers. */
  head: Buffer
  body: Buffer
  /** Channel of those who wait for the answer; empty: nobody does. */
  waiters: string
  steps: ReadonlyMap<string, Buffer>
}

/** The record under `key`, if it is still kept. */
export function recordAt(database: Database, key: string, now: number): Record | undefined {
  const record = database.get<Record>(key)
  return record && record.ends > now ? record : undefined
}

/** The running request under `key`, if it is this owner's. */
export function ownAt(
  database: Database,
  key: string,
  owner: Arg | undefined,
  now: number,
): Record | undefined {
  const record = recordAt(database, key, now)
  return record?.state === 'p' && record.owner === String(owner) ? record : undefined
}

export const bytes = (arg: Arg | undefined): Buffer =>
  Buffer.isBuffer(arg) ? Buffer.from(arg) : Buffer.from(String(arg))
