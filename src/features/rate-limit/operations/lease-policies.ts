/** Consumes, and leases units that the caller may use without asking again: one atomic step. */
import { operation, type Operation, type OperationArgument } from '../../../store/store.ts'
import { applyInProcess, numbersOf, policyArguments } from './apply-policies.ts'
import { LEASE_PART, LEASE_SHARE, leaseScript, type KnownPolicy } from './script.ts'

/** What is given back of a lease. One number for each policy. */
export interface ReturnedUnits {
  /** Units that were not used. */
  readonly back: readonly number[]
  /** Units of which those are the rest, where the algorithm holds leased units. 0 elsewhere. */
  readonly granted: readonly number[]
  /** When they were leased, by Redis's clock. 0: there was no lease. */
  readonly grantedAt: number
  /** Time of a lease, in ms. */
  readonly lease: number
}

/** What a call asks for besides its own charge. One number for each policy. */
export interface UnitRequest extends ReturnedUnits {
  /** Units that the process can use. */
  readonly want: readonly number[]
  /** Units that stay unleased, for all processes that have no lease. */
  readonly band: readonly number[]
}

/** Arguments of each policy, as `applyPolicies` takes them, and behind those. */
const EACH = 9
const COST = 5
const MORE = 4
const HEAD = 3
/** Numbers in a reply. */
const REPLIED = 5
const WIDTH = 8

/** Returns the arguments of `leasePolicies`. */
export function leaseArguments(
  action: 'consume' | 'countDenied' | 'giveBack',
  policies: readonly KnownPolicy[],
  { back, granted, grantedAt, lease, want = [], band = [] }: ReturnedUnits & Partial<UnitRequest>,
): OperationArgument[] {
  const args = policyArguments(action, policies, grantedAt)
  for (let i = 0; i < policies.length; i++)
    args.push(back[i]!, granted[i]!, want[i] ?? 0, band[i] ?? 0)
  args.push(lease)
  return args
}

/** Gives back what is left of a lease, consumes, and leases units. lease.lua describes arguments and reply. */
export const leasePolicies: Operation<Buffer> = operation({
  name: 'leasePolicies',
  lua: leaseScript(),
  memory(database, keys, args, now) {
    const [action, n] = [String(args[0]), Number(args[1])]
    const more = args.slice(HEAD + n * EACH).map(Number)
    const each = (j: number): number[] =>
      Array.from({ length: n }, (_, i) => more[i * MORE + j] ?? 0)
    const [back, granted, want, band] = [each(0), each(1), each(2), each(3)]
    const lease = more[n * MORE]!
    const costs = want.map((_, i) => Number(args[HEAD + i * EACH + COST]))
    const step = (
      of: string,
      units: readonly number[],
      leased?: Parameters<typeof applyInProcess>[4],
    ): Buffer => {
      const changed = [of, ...args.slice(1)]
      for (const [i, value] of units.entries()) changed[HEAD + i * EACH + COST] = value
      return applyInProcess(database, keys, changed, now, leased)
    }
    const isGivenBack = [...back, ...granted].some((units) => units > 0)
    const held = granted.map((units) => (units > 0 ? units : undefined))
    const returned = isGivenBack ? step('refund', back, { lease, granted: held }) : undefined
    if (action === 'giveBack') return returned ?? Buffer.alloc(0)
    let reply = step(action, costs)
    const [allowed, , ...states] = numbersOf(reply)
    const leased = want.map((units, i) => {
      const [limit = 0, remaining = 0] = states.slice(i * REPLIED)
      const free = Math.floor((remaining - band[i]!) * LEASE_PART)
      const most = Math.max(0, Math.min(units, Math.floor(limit * LEASE_SHARE), free))
      return most < costs[i]! ? -1 : most
    })
    const isLeased = allowed === 1 && leased.every((units) => units >= 0)
    if (isLeased) reply = step('charge', leased, { lease })
    const units = Buffer.allocUnsafe(n * WIDTH)
    for (const [i, each] of leased.entries()) units.writeDoubleLE(isLeased ? each : 0, i * WIDTH)
    return Buffer.concat([reply, units])
  },
  buffers: true,
})
