/** An algorithm is a folder and a line: what is missing does not compile, and all have their place. */
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type {
  AlgorithmScript,
  FastScript,
  LimitAlgorithm,
  Meter,
} from '../../../src/features/rate-limit/algorithms/algorithm.ts'
import { ALGORITHMS } from '../../../src/features/rate-limit/algorithms/index.ts'
import { turnpike } from '../../../src/express.ts'
import { testStore } from '../../../src/testing.ts'
import { ROOT, textOf } from '../../docs/blocks.ts'

/** The parts of a type that may be left out. */
type Optional<Whole> = {
  [Part in keyof Whole]-?: Omit<Whole, Part> extends Whole ? Part : never
}[keyof Whole]

test('a part that an algorithm lacks is an error of the compiler', () => {
  // These lines do not compile if a part becomes optional.
  const none: [
    algorithm: Optional<LimitAlgorithm>,
    script: Optional<AlgorithmScript>,
    fast: Optional<FastScript>,
    meter: Optional<Meter<unknown>>,
  ][] = []
  const nothing: never[] = none.flat()
  expect(nothing).toEqual([])

  // @ts-expect-error: its name and code are all it has
  const tokenBucket: LimitAlgorithm<'token-bucket'> = { name: 'token-bucket', code: 't' }
  expect(tokenBucket.createMeter).toBeUndefined()
})

test('each folder of an algorithm is registered', () => {
  const folders = readdirSync(`${ROOT}/src/features/rate-limit/algorithms`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
  expect(ALGORITHMS.map(({ name }) => name).toSorted()).toEqual(folders.toSorted())
})

describe.each(ALGORITHMS)('$name', ({ name, code }) => {
  test('has a code of its own, which keeps its states apart from those of others', () => {
    expect(code).toMatch(/^[a-z]$/)
    expect(ALGORITHMS.filter((each) => each.code === code)).toHaveLength(1)
  })

  test('can be chosen by its name, and is documented', () => {
    const tp = turnpike({ store: testStore() })
    expect(tp.rateLimit({ limit: 5, window: '1m', algorithm: name }).limiterName).toBe('5-1m')
    expect(textOf('docs/rate-limits.md')).toContain(`\n| \`'${name}'\` `)
  })
})
