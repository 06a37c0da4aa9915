/** What `take` is asked: charges, as arguments or written into a script of their own. */
import type { OperationArgument, Operation } from '../../store/store.ts'
import type { Charge } from './charge.ts'
import type { Policy } from './policy.ts'
import { takeOf } from './take.ts'

/** Consume, consume and count refusals too, peek, charge by force, refund, block. */
export type Verb = 'c' | 'd' | 'p' | 'f' | 'r' | 'b'

/** How many runs a sliding window's log holds at most: it over-holds by window / RUNS, and is exact for limits up to it. */
const RUNS = 64

/** What an algorithm needs besides limit and window. */
function auxOf(
  letter: Policy<never>['letter'],
  burst: number | undefined,
  limit: number,
): number | undefined {
  if (letter === 's') return RUNS
  return letter === 'g' ? (burst ?? limit) : undefined
}

/** ARGV of take-head.lua. @param tags whose stored limits are among the keys, in their order */
export function argumentsOf(
  verb: Verb,
  charges: readonly Charge[],
  tags: readonly string[],
  at: number,
  now: number,
): OperationArgument[] {
  const args: OperationArgument[] = [verb, charges.length, at]
  for (const { policy, tag, limit, window, cost } of charges) {
    const { letter, name, burst, calendar, block, blockMax } = policy
    const period = calendar?.(now)
    const length = period ? period.end - period.start : window
    const aux = period?.start ?? auxOf(letter, burst, limit) ?? ''
    args.push(letter, name, limit, length, aux, cost, block, blockMax, tags.indexOf(tag) + 1)
  }
  return args
}

/** The script for charges that are known but for their subject; undefined where a calendar has a say. */
export function written(
  verb: 'c' | 'd',
  constants: readonly Omit<Charge, 'tag'>[],
  overrides: boolean,
): Operation<Buffer> | undefined {
  if (constants.some(({ policy }) => policy.calendar)) return undefined
  const own = overrides ? 1 : 0
  return takeOf(
    verb,
    constants.map(({ policy, limit, window, cost }) => {
      const { letter: algorithm, name, burst, block, blockMax } = policy
      const aux = auxOf(algorithm, burst, limit)
      return { algorithm, name, limit, window, aux, cost, block, blockMax, own }
    }),
  )
}

/** Are all charges one subject's? */
export function ofOneSubject(charges: readonly Charge[]): boolean {
  const { tag } = charges[0]!
  for (let i = 1; i < charges.length; i++) if (charges[i]!.tag !== tag) return false
  return true
}
