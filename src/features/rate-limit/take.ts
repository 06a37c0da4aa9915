import { admitting, type Constant } from './admit.ts'
import {
  operation,
  type OperationArgument,
  type MemoryDatabase,
  type Operation,
} from '../../store/store.ts'
import type { StoredOverrides } from './overrides.ts'
import head from './take-head.lua'
import log from './take-log.lua'
import look from './take-look.lua'
import read from './take-read.lua'
import decide from './take.lua'
import {
  fixedWindow,
  gcra,
  slidingWindow,
  type Asked,
  type FixedState,
  type GcraState,
  type SlidingState,
  type Usage,
} from './windows.ts'

/** How long a subject is blocked, and what is remembered of it: `strikes` double the next block. */
interface Block {
  until: number
  strikes: number
  length: number
}

/** What the in-process engine keeps per policy. */
interface Kept {
  block: Block
  usage: unknown
}

/** One policy of a call, between looking at it and carrying it out. */
interface Seen {
  asked: Asked
  usage: Usage
  block: Block
  violated: number
}

const locals = `local call, sub, read, pack = redis.call, string.sub, struct.unpack, struct.pack\n`
const body = read + log + look + decide
const NO_BLOCK: Block = { until: 0, strikes: 0, length: 0 }
const MOST_STRIKES = 65_535
const HIGHEST_LIMIT = 1e12
/** Arguments in front of the first policy, and of each policy. */
const HEAD = 3
const EACH = 9
/** Bytes of a number in a reply. */
const WIDTH = 8

function usageOf(algorithm: string, asked: Asked, state: unknown): Usage | undefined {
  if (algorithm === 's') return slidingWindow(asked, state as SlidingState | undefined)
  if (algorithm === 'f') return fixedWindow(asked, state as FixedState | undefined)
  return gcra(asked, state as GcraState | undefined)
}

/** The block, unless it is over and forgotten, or was made by a clock far ahead of ours. */
function live(block: Block, window: number, now: number): Block {
  const { until, strikes, length } = block
  const memory = Math.max(window, length)
  const over = (strikes === 0 && now >= until) || now > until + memory
  return over || until - now > length + memory ? NO_BLOCK : block
}

function ownLimit(own: StoredOverrides | undefined, name: string): number | undefined {
  const value = own?.fields.get(name)
  if (value === undefined || !/^\d{1,13}$/.test(value)) return undefined
  return Number(value) <= HIGHEST_LIMIT ? Number(value) : undefined
}

function renew(database: MemoryDatabase, key: string, own: StoredOverrides, now: number): void {
  if (own.renewal === 0 || own.until - now >= own.renewal / 2) return
  database.set(key, { ...own, until: now + own.renewal }, own.renewal)
}

function save(database: MemoryDatabase, key: string, seen: Seen): void {
  const { asked, usage, block } = seen
  const { state, life } = usage.keep()
  const memory = block.strikes > 0 ? Math.max(asked.window, block.length) + 1 : 0
  const until = Math.max(life, block.until > 0 ? block.until + memory : 0)
  if (until > asked.now)
    database.set(key, { block, usage: state } satisfies Kept, until - asked.now)
  else database.delete(key)
}

function memory(
  database: MemoryDatabase,
  keys: readonly string[],
  args: readonly OperationArgument[],
  now: number,
): Buffer {
  const [verb, n, at] = [String(args[0]), Number(args[1]), Number(args[2])]
  const judged = verb === 'c' || verb === 'd' || verb === 'p'
  const ownKeys = keys.slice(n)
  const owns = ownKeys.map((key) => database.get<StoredOverrides>(key))
  const policies: Seen[] = []
  let allowed = true

  for (let i = 0; i < n; i++) {
    const argument = (j: number): string => String(args[HEAD + i * EACH + j])
    const aux = argument(4)
    const asked: Asked = {
      limit: ownLimit(owns[Number(argument(8)) - 1], argument(1)) ?? Number(argument(2)),
      window: Number(argument(3)),
      cost: Number(argument(5)),
      aux: aux === '' ? undefined : Number(aux),
      now,
    }
    const kept = database.get<Kept>(keys[i]!)
    const usage = usageOf(argument(0), asked, kept?.usage)
    if (!usage) return replyOf([-1, now])
    const block = live(kept?.block ?? NO_BLOCK, asked.window, now)
    const violated = block.until > now ? 2 : judged && asked.cost > 0 && usage.over ? 1 : 0
    if (judged && violated > 0) allowed = false
    policies.push({ asked, usage, block, violated })
  }
  owns.forEach((own, i) => own && renew(database, ownKeys[i]!, own, now))

  const refusedCharge = verb === 'd' && !allowed
  const reply = [allowed ? 1 : 0, now]
  policies.forEach((seen, i) => {
    const { asked, usage, violated } = seen
    const { cost } = asked
    let changed = false
    if (verb === 'f' || (allowed && (verb === 'c' || verb === 'd'))) {
      changed = usage.charge(cost, false)
    } else if (refusedCharge) {
      changed = usage.charge(usage.chargeable, true)
    } else if (verb === 'r') {
      changed = usage.refund(at)
    }
    const asks = judged && cost > 0 && (violated > 0 || refusedCharge)
    let retry = asks ? usage.retry() : 0

    const [first, longest] = [Number(args[HEAD + i * EACH + 6]), Number(args[HEAD + i * EACH + 7])]
    if (violated === 1 && verb !== 'p' && first > 0) {
      const { strikes } = seen.block
      const length = Math.min(first * 2 ** strikes, Math.max(first, longest))
      seen.block = { until: now + length, strikes: Math.min(strikes + 1, MOST_STRIKES), length }
      changed = true
    } else if (verb === 'b' && i === 0 && cost > 0 && now + cost > seen.block.until) {
      seen.block = { ...seen.block, until: now + cost, length: cost }
      seen.violated = 2
      changed = true
    }
    if (changed) save(database, keys[i]!, seen)

    const blocked = Math.max(0, seen.block.until - now)
    if (blocked > 0 && retry >= 0) retry = Math.max(retry, blocked)
    const remaining = blocked > 0 ? 0 : usage.remaining()
    reply.push(asked.limit, remaining, blocked || usage.reset(), retry, seen.violated)
  })
  return replyOf(reply)
}

function replyOf(numbers: readonly number[]): Buffer {
  const reply = Buffer.allocUnsafe(numbers.length * WIDTH)
  numbers.forEach((number, i) => reply.writeDoubleLE(number, i * WIDTH))
  return reply
}

/** The numbers of a reply. */
export function numbersOf(reply: Buffer): number[] {
  const numbers: number[] = []
  for (let i = 0; i < reply.length; i += WIDTH) numbers.push(reply.readDoubleLE(i))
  return numbers
}

/**
 * Decides and charges several policies of one subject in one atomic step, all or none: sliding
 * window, fixed window and GCRA, with blocks, refunds and the subject's own limits. Its keys,
 * arguments and reply are described at the head of `take.lua`.
 */
export const take: Operation<Buffer> = operation({
  name: 'take',
  lua: `${locals}${head}${body}`,
  memory,
  buffers: true,
})

/**
 * `take` with its questions written into the script, for limits that are the same for every request:
 * nothing but keys has to be sent, and nothing to be read from ARGV. Names consist of letters,
 * digits and `_.-`, so they need no quoting.
 */
export function takeOf(verb: 'c' | 'd', policies: readonly Constant[]): Operation<Buffer> {
  const args = [verb, policies.length, 0, ...policies.flatMap(valuesOf)]
  const rows = policies.map(
    (policy, i) =>
      `  if i == ${i + 1} then return ${valuesOf(policy).map(literal).join(', ')} end\n`,
  )
  const asked = `local verb, n, at = '${verb}', ${policies.length}, 0\n`
  const policy = `local function policy(i)\n${rows.join('')}end\n`
  return operation({
    name: 'take',
    lua: `${locals}${admitting(policies)}${asked}${policy}${body}`,
    memory: (database, keys, _args, now) => memory(database, keys, args, now),
    buffers: true,
  })
}

const valuesOf = (policy: Constant): (string | number)[] => {
  const { algorithm, name, limit, window, aux = '', cost, block, blockMax, own } = policy
  return [algorithm, name, limit, window, aux, cost, block, blockMax, own]
}

/** A value in Lua's spelling; the numbers are whole. */
function literal(value: string | number): string {
  if (typeof value === 'number') return value.toFixed(0)
  return value === '' ? 'nil' : `'${value}'`
}
