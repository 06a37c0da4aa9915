/** Consumes, and charges more units that the caller may use without asking again: one atomic step. */
import { operation, type Operation, type OperationArgument } from '../../../store/store.ts'
import { applyPolicies, numbersOf, policyArguments } from './apply-policies.ts'
import { LEASE_PART, LEASE_SHARE, leaseScript, type KnownPolicy } from './script.ts'

/** What a call asks for besides its own charge. One number for each policy. */
export interface UnitRequest {
  /** Units of the last lease that were not used. */
  readonly back: readonly number[]
  /** When the last lease was granted, by Redis's clock. 0: there was none. */
  readonly grantedAt: number
  /** Units that the process can use. */
  readonly want: readonly number[]
  /** Units that stay unleased, for all processes that have no lease. */
  readonly band: readonly number[]
}

/** Arguments of each policy, as `applyPolicies` takes them, and behind those. */
const EACH = 9
const COST = 5
const MORE = 3
const HEAD = 3
/** Numbers in a reply. */
const REPLIED = 5
const WIDTH = 8

/** Returns the arguments of `leasePolicies`. */
export function leaseArguments(
  action: 'consume' | 'countDenied',
  policies: readonly KnownPolicy[],
  { back, grantedAt, want, band }: UnitRequest,
): OperationArgument[] {
  const args = policyArguments(action, policies, grantedAt)
  for (let i = 0; i < policies.length; i++) args.push(back[i]!, want[i]!, band[i]!)
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
    const [back, want, band] = [each(0), each(1), each(2)]
    const costs = want.map((_, i) => Number(args[HEAD + i * EACH + COST]))
    const step = (of: string, units: readonly number[]): Buffer => {
      const changed = [of, ...args.slice(1)]
      for (const [i, value] of units.entries()) changed[HEAD + i * EACH + COST] = value
      return applyPolicies.memory(database, keys, changed, now)
    }
    if (back.some((units) => units > 0)) step('refund', back)
    let reply = step(action, costs)
    const [allowed, , ...states] = numbersOf(reply)
    const leased = want.map((units, i) => {
      const [limit = 0, remaining = 0] = states.slice(i * REPLIED)
      const free = Math.floor((remaining - band[i]!) * LEASE_PART)
      const granted = Math.max(0, Math.min(units, Math.floor(limit * LEASE_SHARE), free))
      return granted < costs[i]! ? -1 : granted
    })
    const isLeased = allowed === 1 && leased.every((units) => units >= 0)
    if (isLeased) reply = step('charge', leased)
    const granted = Buffer.allocUnsafe(n * WIDTH)
    for (const [i, units] of leased.entries())
      granted.writeDoubleLE(isLeased ? units : 0, i * WIDTH)
    return Buffer.concat([reply, granted])
  },
  buffers: true,
})
