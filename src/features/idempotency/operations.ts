/** What idempotency keys do in the store. Keys, arguments and replies: see the Lua files. */
import {
  operation,
  type MemoryDatabase,
  type Operation,
  type OperationArgument,
  type OperationReply,
} from '../../store/store.ts'
import wholeLua from '../../store/whole.lua'
import beginLua from './begin.lua'
import completeLua from './complete.lua'
import recordLua from './record.lua'
import releaseLua from './release.lua'
import renewLua from './renew.lua'
import saveStepLua from './save-step.lua'

/** Times and rules of a mount. They stand in its scripts, so that they need not be sent. */
export interface RecordTerms {
  /** Length of a lease, in ms. */
  lease: number
  /** Lifetime of a record, in ms. */
  ttl: number
  /** What happens to a request whose last attempt did not end. */
  onCrash: 'rerun' | 'conflict'
}

/** Length of a fingerprint: SHA-256 in base64url. */
export const FINGERPRINT_LENGTH = 43

/** A request in the in-process engine. begin.lua explains the fields. */
interface RequestRecord {
  state: 'p' | 'r' | 'c'
  /** Fingerprint and owner. */
  claim: string
  leaseEnds: number
  token: number
  attempt: number
  ends: number
  response: Buffer
  /** Channel of the requests that wait for the response; empty if there are none. */
  waiters: string
  steps: ReadonlyMap<string, Buffer>
}

const prelude = `${wholeLua}\n${recordLua}`
const EMPTY = Buffer.alloc(0)

function recordAt(database: MemoryDatabase, key: string, now: number): RequestRecord | undefined {
  const record = database.get<RequestRecord>(key)
  return record && record.ends > now ? record : undefined
}

/** Returns the running request if it belongs to the claim. */
function ownRecordAt(
  database: MemoryDatabase,
  key: string,
  claim: OperationArgument | undefined,
  now: number,
): RequestRecord | undefined {
  const record = recordAt(database, key, now)
  return record?.state === 'p' && record.claim === claim ? record : undefined
}

const setRecord = (
  database: MemoryDatabase,
  key: string,
  record: RequestRecord,
  now: number,
): void => database.set(key, record, record.ends - now)

const bytesOf = (value: OperationArgument | undefined): Buffer =>
  Buffer.isBuffer(value) ? Buffer.from(value) : Buffer.from(String(value))

const fingerprintOf = (claim: unknown): string => String(claim).slice(0, FINGERPRINT_LENGTH)

/** Returns the operation that looks a request up, or claims it. */
export function createBegin({
  lease,
  ttl,
  onCrash,
}: RecordTerms): Operation<number | OperationReply[]> {
  const isConflict = onCrash === 'conflict'
  const terms = `local LEASE, KEPT, CONFLICT = ${lease.toFixed(0)}, ${ttl.toFixed(0)}, ${isConflict}`
  return operation({
    name: 'idempotency.begin',
    lua: `${prelude}\n${terms}\n${beginLua}`,
    buffers: true,
    memory(database, [key], [claim, channel], now) {
      const known = recordAt(database, key!, now)
      if (known) {
        const { state, response, leaseEnds } = known
        if (fingerprintOf(known.claim) !== fingerprintOf(claim)) return [4]
        if (state === 'c') return [2, response]
        if (leaseEnds > now) {
          const waiters = channel === undefined ? known.waiters : String(channel)
          setRecord(database, key!, { ...known, waiters }, now)
          return [3, leaseEnds - now]
        }
        if (state === 'p' && isConflict) return [6]
      }
      const record: RequestRecord = {
        state: 'p',
        claim: String(claim),
        leaseEnds: now + lease,
        token: Math.max((known?.token ?? 0) + 1, now * 1000),
        attempt: (known?.attempt ?? 0) + 1,
        ends: now + ttl,
        response: EMPTY,
        waiters: known?.waiters ?? '',
        steps: known?.steps ?? new Map(),
      }
      setRecord(database, key!, record, now)
      if (record.attempt === 1) return record.token
      const steps = [...record.steps].flatMap(([name, value]) => [Buffer.from(name), value])
      return [1, record.token, record.attempt, ...steps]
    },
  })
}

/** Reads a stored response that is large. */
export const readLargeResponse: Operation<(Buffer | null)[]> = operation<(Buffer | null)[]>({
  name: 'idempotency.readLarge',
  command: 'HMGET',
  buffers: true,
  large: true,
  memory: (database, [key], _args, now) => [recordAt(database, key!, now)?.response ?? null],
})

/** Returns the operation that stores the response to a request. */
export function createComplete({ ttl }: Pick<RecordTerms, 'ttl'>): Operation<number> {
  return operation({
    name: 'idempotency.complete',
    lua: `${prelude}\nlocal KEPT = ${ttl.toFixed(0)}\n${completeLua}`,
    memory(database, [key], [claim, response], now) {
      const known = recordAt(database, key!, now)
      if (known && known.claim !== claim) return 0
      const record: RequestRecord = {
        state: 'c',
        claim: String(claim),
        leaseEnds: 0,
        token: 0,
        attempt: 0,
        ends: now + ttl,
        response: bytesOf(response),
        waiters: '',
        steps: new Map(),
      }
      setRecord(database, key!, record, now)
      if (known?.waiters) database.publish(known.waiters, '*')
      return 1
    },
  })
}

/** Releases the key of a request that failed. */
export const releaseKey: Operation<number> = operation({
  name: 'idempotency.release',
  lua: `${prelude}\n${releaseLua}`,
  memory(database, [key], [claim, keep], now) {
    const record = ownRecordAt(database, key!, claim, now)
    if (!record) return 0
    if (record.steps.size === 0 && keep === undefined) database.delete(key!)
    else setRecord(database, key!, { ...record, state: 'r', leaseEnds: 0 }, now)
    if (record.waiters) database.publish(record.waiters, '*')
    return 1
  },
})

/** Saves the result of a step. */
export const saveStep: Operation<number> = operation({
  name: 'idempotency.saveStep',
  lua: `${prelude}\n${saveStepLua}`,
  memory(database, [key], [claim, name, value], now) {
    const record = recordAt(database, key!, now)
    if (!record) return -1
    if (record.state !== 'p' || record.claim !== claim) return 0
    const steps = new Map(record.steps).set(String(name), bytesOf(value))
    setRecord(database, key!, { ...record, steps }, now)
    return 1
  },
})

/** Renews the lease of a running request. */
export const renewKey: Operation<number> = operation({
  name: 'idempotency.renew',
  lua: `${prelude}\n${renewLua}`,
  memory(database, [key], [claim, lease, ttl], now) {
    const record = ownRecordAt(database, key!, claim, now)
    if (!record) return 0
    const renewed = { ...record, leaseEnds: now + Number(lease), ends: now + Number(ttl) }
    setRecord(database, key!, renewed, now)
    return 1
  },
})
