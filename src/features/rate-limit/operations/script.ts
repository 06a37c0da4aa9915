/** Puts the script together that applies policies, out of its frame and the parts of the algorithms. */
import type { LimitAlgorithm, FastPolicy } from '../algorithms/algorithm.ts'
import { LEASE_LIVES, MAX_MS, MAX_UNITS } from '../algorithms/algorithm.ts'
import { ALGORITHMS } from '../algorithms/index.ts'
import {
  fillScript,
  joined,
  sizeOf,
  STATE_BLOCK,
  STATE_HEADER,
  type ScriptConstants,
} from '../algorithms/layout.ts'
import apply from './apply.lua'
import readArguments from './arguments.lua'
import inspect from './inspect.lua'
import leaseStep from './lease-step.lua'
import lease from './lease.lua'
import readStates from './states.lua'

/** What a call does with the policies. */
export type PolicyAction =
  /** Charge all policies, or none if one of them denies. */
  | 'consume'
  /** As `consume`, and charge a denied request, too. */
  | 'countDenied'
  /** Decide, and write nothing. */
  | 'peek'
  /** Charge beyond the limit if need be. */
  | 'charge'
  | 'refund'
  /** Block the subject of the first policy for as many ms as its cost. */
  | 'block'

/** One policy, known in advance but for its subject. */
export interface KnownPolicy extends FastPolicy {
  readonly algorithm: LimitAlgorithm
  /** Letters, digits and `_.-` only, so that it needs no quoting in Lua. */
  readonly name: string
  readonly blockFor: number
  readonly blockMax: number
  /** Which hash of overrides applies, from 1. 0: none. */
  readonly override: number
}

/** The highest limit. */
export const MAX_LIMIT = 1e12

/** Values of each policy that inspect.lua keeps for apply.lua, without those of the algorithm. */
const COMMON = 6
const SEEN_SIZE = COMMON + Math.max(...ALGORITHMS.map(({ script }) => script.carried.length))
const SHARED: ScriptConstants = {
  BLOCK: STATE_BLOCK,
  BLOCK_SIZE: sizeOf(STATE_BLOCK),
  HEADER: STATE_HEADER,
  HEADER_SIZE: sizeOf(STATE_HEADER),
  LIVES: LEASE_LIVES,
  MAX_LIMIT,
  MAX_MS,
  MAX_UNITS,
  SEEN_SIZE,
}
/** A lease of one process is at most a SHARE-th of the limit, and a PART-th of what is left above the band. */
const LEASED = { SHARE: 64, PART: 8 } as const
/** The part of a limit that one process leases at most. */
export const LEASE_SHARE: number = 1 / LEASED.SHARE
/** The part of what is left above the band that one lease takes at most. */
export const LEASE_PART: number = 1 / LEASED.PART
const LOCALS = `local call, sub, read, pack = redis.call, string.sub, struct.unpack, struct.pack\n`
const MATH = `local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min\n`

/** Returns the script for policies that come as arguments. */
export const policiesScript = (): string => `${LOCALS}${readArguments}${fullScript(ALGORITHMS)}`

/** Returns the script that consumes and leases. It takes the steps of `policiesScript`, several in one. */
export const leaseScript = (): string => {
  const functions = ALGORITHMS.map((each) => part(each.script.functions, each)).join('')
  return `${LOCALS}${MATH}${readArguments}${functions}${leaseStep.replace('STEP', () => stepsOf(ALGORITHMS))}${fillScript(lease, LEASED)}`
}

/** Returns the script for policies that are known. It reads no arguments, and has a short way for what is admitted. */
export function knownPoliciesScript(
  action: 'consume' | 'countDenied',
  policies: readonly KnownPolicy[],
): string {
  const rows = policies.map(
    (policy, i) =>
      `  if i == ${i + 1} then return ${policyValues(policy).map(literal).join(', ')} end\n`,
  )
  const asked = `local action, n, chargedAt = '${action}', ${policies.length}, 0\n`
  const used = ALGORITHMS.filter((each) => policies.some(({ algorithm }) => algorithm === each))
  return `${LOCALS}${fastScript(policies)}${asked}local function policy(i)\n${rows.join('')}end\n${fullScript(used)}`
}

/** Returns the values of a policy in the order in which apply.lua reads them. */
export function policyValues(policy: KnownPolicy): (string | number | undefined)[] {
  const { algorithm, name, limit, window, parameter, cost, blockFor, blockMax, override } = policy
  return [algorithm.code, name, limit, window, parameter, cost, blockFor, blockMax, override]
}

/** Returns everything behind the arguments: states are read, inspected and changed. */
function fullScript(algorithms: readonly LimitAlgorithm[]): string {
  const functions = algorithms.map((each) => part(each.script.functions, each)).join('')
  return `${MATH}${functions}${stepsOf(algorithms)}`
}

/** Returns a script of an algorithm with its values in place of their names. */
const part = (lua: string, { script }: LimitAlgorithm): string =>
  fillScript(lua, { ...SHARED, ...script.layout })

/** Returns what reads the states, decides, changes them and replies. */
function stepsOf(algorithms: readonly LimitAlgorithm[]): string {
  const slots = ({ script }: LimitAlgorithm): string =>
    script.carried.map((_name, j) => `seen[k + ${COMMON + 1 + j}]`).join(', ')
  const places: Readonly<Record<string, string>> = {
    SEEN: `{ ${'0, '.repeat(SEEN_SIZE * 3)}}`,
    INSPECT: dispatch(
      algorithms,
      (each) =>
        `${part(each.script.inspect, each)}${slots(each)} = ${each.script.carried.join(', ')}\n`,
      `else return redis.error_reply('no such algorithm')\n`,
    ),
    APPLY: dispatch(
      algorithms,
      (each) =>
        `local ${each.script.carried.join(', ')} = ${slots(each)}\n${part(each.script.apply, each)}`,
    ),
  }
  const frame = (lua: string): string =>
    fillScript(lua, SHARED).replace(/\b(?:SEEN|INSPECT|APPLY)\b/g, (name) => places[name]!)
  return `${readStates}${frame(inspect)}${frame(apply)}`
}

/** Returns a branch for each algorithm. */
function dispatch(
  algorithms: readonly LimitAlgorithm[],
  branch: (algorithm: LimitAlgorithm) => string,
  otherwise = '',
): string {
  const branches = algorithms.map((each) => `if algorithm == '${each.code}' then\n${branch(each)}`)
  return `${branches.join('else')}${otherwise}end\n`
}

/** Variables of so many policies fit beside each other: Lua allows 200 for a function. */
const MAX_FAST_POLICIES = 8

/**
 * Returns the short way: it inspects all policies, then charges them, and replies. It stops before
 * it has written anything if a policy denies, is blocked, or has an override. Charged one by one, a
 * policy would be drained by requests that the next one denies.
 */
function fastScript(policies: readonly KnownPolicy[]): string {
  const constants = policies.map(({ algorithm, ...policy }) =>
    policy.cost > 0 && policy.limit > 0 && policy.override <= 1
      ? algorithm.script.fast.constantsOf(policy)
      : undefined,
  )
  if (policies.length > MAX_FAST_POLICIES || constants.includes(undefined)) return ''
  const part = (lua: string, i: number): string => {
    const { algorithm, limit, window, cost } = policies[i]!
    const { layout } = algorithm.script
    const headed = joined(STATE_HEADER, layout.STATE)
    return fillScript(lua, {
      ...SHARED,
      ...layout,
      ...constants[i],
      HEADED_STATE: headed,
      HEAD_END: sizeOf(headed) - 1,
      I: i + 1,
      LIMIT: limit,
      WINDOW: window,
      COST: cost,
    }).replace(/\b[a-z]\w*_(?!\w)/g, (name) => `${name}${i}`)
  }
  const parts = (name: 'inspect' | 'apply'): string =>
    policies.map(({ algorithm }, i) => part(algorithm.script.fast[name], i)).join('')
  const hasOverrides = policies.some(({ override }) => override > 0)
  const unlessOverridden = `if call('PTTL', KEYS[${policies.length + 1}]) ~= -2 then break end\n`
  const numbers = policies.map(({ limit }, i) => `${limit}, remaining_${i}, reset_${i}, 0, 0`)
  const reply = `do return pack('<dd${'ddddd'.repeat(policies.length)}', 1, now, ${numbers.join(', ')}) end\n`
  return `repeat\n${hasOverrides ? unlessOverridden : ''}${parts('inspect')}${parts('apply')}${reply}until true\n`
}

/** Returns a value in Lua's spelling. Numbers are integers. */
function literal(value: string | number | undefined): string {
  if (value === undefined) return 'nil'
  return typeof value === 'number' ? value.toFixed(0) : `'${value}'`
}
