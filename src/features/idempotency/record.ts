/** A request with its key, as the in-process engine keeps it; the fields are explained in begin.lua. */
import type { OperationArgument, MemoryDatabase } from '../../store/store.ts'
import whole from '../../store/whole.lua'
import lua from './record.lua'

/** What stands in front of the scripts that change a record. */
export const PRELUDE: string = `${whole}\n${lua}`

/** What a mount has written into its scripts, so that it need not be sent each time. */
export interface Terms {
  /** In ms. */
  lease: number
  /** How long a record is kept, in ms. */
  ttl: number
  onCrash: 'rerun' | 'conflict'
}

/** A fingerprint's length: SHA-256 in base64url. */
export const PRINT = 43

export interface Record {
  state: 'p' | 'r' | 'c'
  /** Fingerprint and owner. */
  claim: string
  leaseEnds: number
  token: number
  attempt: number
  ends: number
  answer: Buffer
  /** Channel of those who wait for the answer; empty: nobody does. */
  waiters: string
  steps: ReadonlyMap<string, Buffer>
}

/** The record under `key`, if it is still kept. */
export function recordAt(database: MemoryDatabase, key: string, now: number): Record | undefined {
  const record = database.get<Record>(key)
  return record && record.ends > now ? record : undefined
}

/** The running request under `key`, if it is this claim's. */
export function ownAt(
  database: MemoryDatabase,
  key: string,
  claim: OperationArgument | undefined,
  now: number,
): Record | undefined {
  const record = recordAt(database, key, now)
  return record?.state === 'p' && record.claim === claim ? record : undefined
}

export const bytes = (arg: OperationArgument | undefined): Buffer =>
  Buffer.isBuffer(arg) ? Buffer.from(arg) : Buffer.from(String(arg))
