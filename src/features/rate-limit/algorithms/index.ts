/** The algorithms by name and by code. */
import type { LimitAlgorithm } from './algorithm.ts'
import * as registry from './registry.ts'

/** Value of the option `algorithm`. */
export type RateLimitAlgorithm = (typeof registry)[keyof typeof registry]['name']

/** All algorithms. A registered one that lacks a part does not compile. */
export const ALGORITHMS: readonly LimitAlgorithm<RateLimitAlgorithm>[] = Object.values(
  registry satisfies Readonly<Record<string, LimitAlgorithm>>,
)

const byName = new Map(ALGORITHMS.map((each) => [each.name, each]))
const byCode = new Map(ALGORITHMS.map((each) => [each.code, each]))

/** Returns the algorithm of a name. */
export const algorithmOf = (name: RateLimitAlgorithm): LimitAlgorithm => byName.get(name)!

/** Returns the algorithm that has a code in script arguments. @throws RangeError for any other */
export function algorithmOfCode(code: string): LimitAlgorithm {
  const algorithm = byCode.get(code)
  if (algorithm === undefined) throw new RangeError(`no algorithm has the code '${code}'`)
  return algorithm
}
