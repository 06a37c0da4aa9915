/** Decides on and charges several policies of one subject in one atomic step, all or none. */
import {
  operation,
  type MemoryDatabase,
  type Operation,
  type OperationArgument,
} from '../../../store/store.ts'
import type { Meter, PolicyCall } from '../algorithms/algorithm.ts'
import { algorithmOfCode } from '../algorithms/index.ts'
import type { StoredOverrides } from './overrides.ts'
import {
  knownPoliciesScript,
  MAX_LIMIT,
  policiesScript,
  policyValues,
  type KnownPolicy,
  type PolicyAction,
} from './script.ts'

/** How long a subject is blocked. `strikes` blocks in a row make the next one longer. */
interface Block {
  end: number
  strikes: number
  length: number
}

/** What the in-process engine stores for a policy. */
interface StoredPolicy {
  block: Block
  state: unknown
}

/** One policy of a call, after it was inspected. */
interface InspectedPolicy {
  readonly key: string
  readonly call: PolicyCall
  readonly meter: Meter<unknown>
  readonly blockFor: number
  readonly blockMax: number
  block: Block
  violated: 0 | 1 | 2
}

const NO_BLOCK: Block = { end: 0, strikes: 0, length: 0 }
const MAX_STRIKES = 65_535
/** Arguments in front of the first policy, and of each policy. */
const HEAD = 3
const EACH = 9
/** Bytes of a number in a reply. */
const WIDTH = 8

/**
 * Applies policies to subjects: consume, peek, charge, refund or block. apply.lua describes its
 * keys, arguments and reply.
 */
export const applyPolicies: Operation<Buffer> = operation({
  name: 'applyPolicies',
  lua: policiesScript(),
  memory: applyInProcess,
  buffers: true,
})

/**
 * Returns `applyPolicies` for policies that are the same for every request. They are written into
 * the script, so that only keys are sent.
 */
export function applyKnownPolicies(
  action: 'consume' | 'countDenied',
  policies: readonly KnownPolicy[],
): Operation<Buffer> {
  const args = policyArguments(action, policies, 0)
  return operation({
    name: 'applyPolicies',
    lua: knownPoliciesScript(action, policies),
    memory: (database, keys, _args, now) => applyInProcess(database, keys, args, now),
    buffers: true,
  })
}

/** Returns the arguments of `applyPolicies`. @param chargedAt when a charge to refund was made, 0 if unknown */
export function policyArguments(
  action: PolicyAction | 'giveBack',
  policies: readonly KnownPolicy[],
  chargedAt: number,
): OperationArgument[] {
  const args: OperationArgument[] = [action, policies.length, chargedAt]
  for (const policy of policies) for (const value of policyValues(policy)) args.push(value ?? '')
  return args
}

/** Returns the numbers of a reply. */
export function numbersOf(reply: Buffer): number[] {
  const numbers: number[] = []
  for (let i = 0; i < reply.length; i += WIDTH) numbers.push(reply.readDoubleLE(i))
  return numbers
}

/** What a step of `leasePolicies` knows besides the arguments of `applyPolicies`. */
interface LeaseStep {
  readonly lease: number
  /** Units that were leased, by policy. Undefined if units are leased now. */
  readonly granted?: readonly (number | undefined)[]
}

/** Does what apply.lua does. */
export function applyInProcess(
  database: MemoryDatabase,
  keys: readonly string[],
  args: readonly OperationArgument[],
  now: number,
  leased?: LeaseStep,
): Buffer {
  const [action, n, chargedAt] = [String(args[0]) as PolicyAction, Number(args[1]), Number(args[2])]
  const consumes = action === 'consume' || action === 'countDenied'
  const judges = consumes || action === 'peek'
  const overrideKeys = keys.slice(n)
  const overrides = overrideKeys.map((key) => database.get<StoredOverrides>(key))
  const policies: InspectedPolicy[] = []
  for (let i = 0; i < n; i++) {
    const values = args.slice(HEAD + i * EACH, HEAD + (i + 1) * EACH).map(String)
    const of = leased && { lease: leased.lease, granted: leased.granted?.[i] }
    const policy = inspect(database, keys[i]!, values, overrides, { now, ...of })
    if (policy === undefined) return replyOf([-1, now])
    const { call, meter } = policy
    if (policy.violated === 0 && judges && call.cost > 0 && meter.exceeds) policy.violated = 1
    policies.push(policy)
  }
  overrides.forEach((each, i) => each && renew(database, overrideKeys[i]!, each, now))

  const allowed = !judges || policies.every(({ violated }) => violated === 0)
  const chargesDenied = action === 'countDenied' && !allowed
  const reply = [allowed ? 1 : 0, now]
  for (const [i, policy] of policies.entries()) {
    const { call, meter } = policy
    let changed = false
    if (action === 'charge' || (consumes && allowed)) changed = meter.charge(call.cost, false)
    else if (chargesDenied) changed = meter.charge(meter.chargeableIfDenied, true)
    else if (action === 'refund') changed = meter.refund(chargedAt)
    const asksForRetry = judges && call.cost > 0 && (policy.violated > 0 || chargesDenied)
    const retry = asksForRetry ? meter.retryAfterMs() : 0
    if (block(policy, action, i, now) || changed) save(database, policy)
    reply.push(...repliedOf(policy, retry, now))
  }
  return replyOf(reply)
}

/** Reads a policy's state. Returns undefined if the call's calendar period is not the current one. */
function inspect(
  database: MemoryDatabase,
  key: string,
  values: readonly string[],
  overrides: readonly (StoredOverrides | undefined)[],
  of: Pick<PolicyCall, 'now' | 'lease' | 'granted'>,
): InspectedPolicy | undefined {
  const [code, name, limit, window, parameter, cost, blockFor, blockMax, override] = values
  const call: PolicyCall = {
    limit: overriddenLimit(overrides[Number(override) - 1], name!) ?? Number(limit),
    window: Number(window),
    cost: Number(cost),
    parameter: parameter === '' ? undefined : Number(parameter),
    ...of,
  }
  const stored = database.get<StoredPolicy>(key)
  const meter = algorithmOfCode(code!).createMeter(call, stored?.state)
  if (meter === undefined) return undefined
  const block = liveBlock(stored?.block ?? NO_BLOCK, call.window, of.now)
  return {
    key,
    call,
    meter,
    blockFor: Number(blockFor),
    blockMax: Number(blockMax),
    block,
    violated: block.end > of.now ? 2 : 0,
  }
}

/** Returns the block, unless it is over and forgotten, or was made before the clock was set back. */
function liveBlock(block: Block, window: number, now: number): Block {
  const { end, strikes, length } = block
  const memory = Math.max(window, length)
  const isOver = (strikes === 0 && now >= end) || now > end + memory
  return isOver || end - now > length + memory ? NO_BLOCK : block
}

function overriddenLimit(overrides: StoredOverrides | undefined, name: string): number | undefined {
  const value = overrides?.limits.get(name)
  if (value === undefined || !/^\d{1,13}$/.test(value)) return undefined
  return Number(value) <= MAX_LIMIT ? Number(value) : undefined
}

function renew(database: MemoryDatabase, key: string, own: StoredOverrides, now: number): void {
  if (own.renewal === 0 || own.until - now >= own.renewal / 2) return
  database.set(key, { ...own, until: now + own.renewal }, own.renewal)
}

/** Blocks the subject if the action or a refusal asks for it. Returns true if it did. */
function block(policy: InspectedPolicy, action: PolicyAction, i: number, now: number): boolean {
  const { blockFor, blockMax, call } = policy
  const { end, strikes } = policy.block
  if (policy.violated === 1 && action !== 'peek' && blockFor > 0) {
    const length = Math.min(blockFor * 2 ** strikes, Math.max(blockFor, blockMax))
    policy.block = { end: now + length, strikes: Math.min(strikes + 1, MAX_STRIKES), length }
    return true
  }
  if (action !== 'block' || i > 0 || call.cost === 0 || now + call.cost <= end) return false
  policy.block = { ...policy.block, end: now + call.cost, length: call.cost }
  policy.violated = 2
  return true
}

function save(database: MemoryDatabase, { key, call, meter, block }: InspectedPolicy): void {
  const { state, countsUntil } = meter.snapshot()
  const memory = block.strikes > 0 ? Math.max(call.window, block.length) + 1 : 0
  const until = Math.max(countsUntil, block.end > 0 ? block.end + memory : 0)
  if (until > call.now) database.set(key, { block, state } satisfies StoredPolicy, until - call.now)
  else database.delete(key)
}

/** Returns a policy's five numbers of the reply. */
function repliedOf(policy: InspectedPolicy, retry: number, now: number): number[] {
  const { call, meter, block, violated } = policy
  const blockedFor = Math.max(0, block.end - now)
  if (blockedFor === 0) return [call.limit, meter.remaining(), meter.resetMs(), retry, violated]
  return [call.limit, 0, blockedFor, retry < 0 ? retry : Math.max(retry, blockedFor), violated]
}

function replyOf(numbers: readonly number[]): Buffer {
  const reply = Buffer.allocUnsafe(numbers.length * WIDTH)
  for (const [i, number] of numbers.entries()) reply.writeDoubleLE(number, i * WIDTH)
  return reply
}
