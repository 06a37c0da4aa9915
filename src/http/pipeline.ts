/** What the pipelines of all frameworks have in common. */
import { TurnpikeError } from '../errors.ts'
import { mountedFeatureOf, pipelineMembers, type MountedFeature } from './adapter.ts'
import type { Exchange } from './exchange.ts'
import { isPromise } from './promises.ts'

/** A member of a pipeline: a middleware, and the feature behind it if it is one of ours. */
export interface Step<Middleware, Run> {
  readonly middleware: Middleware
  readonly ours: MountedFeature<Run> | undefined
}

/** Returns the exchange of a request, always the same one. */
export type ExchangeOf = MountedFeature<unknown>['exchange']

/**
 * Checks a pipeline's members. A pipeline within a pipeline counts as its members.
 * @throws TP_OPTION for a member that is no function, or that handles errors
 */
export function stepsOf<Middleware, Run>(list: readonly Middleware[]): Step<Middleware, Run>[] {
  return list.flatMap((middleware, index) => {
    if (typeof middleware !== 'function') {
      const isList = Array.isArray(middleware)
      const hint = isList ? ' Pass the middlewares one by one: tp.pipeline(a, b).' : ''
      const type = isList ? 'a list' : middleware === null ? 'null' : typeof middleware
      throw new TurnpikeError(
        'TP_OPTION',
        `pipeline: member ${index + 1} is ${type}, not a function.${hint}`,
      )
    }
    if (middleware.length === 4) {
      throw new TurnpikeError(
        'TP_OPTION',
        `pipeline: member ${index + 1} (${middleware.name || 'anonymous'}) handles errors: mount it with app.use() after the routes.`,
      )
    }
    const inner = pipelineMembers(middleware)
    return inner === undefined
      ? [{ middleware, ours: mountedFeatureOf<Run>(middleware) }]
      : stepsOf<Middleware, Run>(inner)
  })
}

/**
 * What a pipeline's members asked the store for at entry. Each member gets it at its turn. What is
 * left for members that get no turn is discarded.
 */
export class PreparedSteps {
  readonly #early: unknown[] = []
  readonly #steps: readonly Step<unknown, unknown>[]

  /** Calls `prepare` on all of ours, in one tick. */
  constructor(steps: readonly Step<unknown, unknown>[], x: Exchange, exchangeOf: ExchangeOf) {
    this.#steps = steps
    const { isBackground } = x
    try {
      for (const { ours } of steps) {
        const isSkipped = isBackground && ours?.feature.onBackground === 'skip'
        const early: unknown = isSkipped
          ? undefined
          : ours?.feature.prepare?.(exchangeFor(ours, x, exchangeOf))
        observe(early)
        this.#early.push(early)
      }
    } catch (error) {
      this.discard()
      throw error
    }
  }

  /** Returns what was prepared for a member, once. */
  take(index: number): unknown {
    const early = this.#early[index]
    this.#early[index] = undefined
    return early
  }

  /** Discards what no member has taken. */
  discard(): void {
    for (const index of this.#early.keys()) {
      const early = this.take(index)
      if (early === undefined) continue
      try {
        observe(this.#steps[index]?.ours?.feature.discard?.(early))
      } catch {
        // One member's mistake must not keep another from undoing its write.
      }
    }
  }
}

/**
 * Handles the rejection of a promise, or of promises in an object. A member reads a failure only at
 * its turn, which it may never get, and by then an unhandled rejection has ended the process.
 */
function observe(early: unknown): void {
  if (typeof early !== 'object' || early === null) return
  if (isPromise(early)) return void early.then(undefined, ignore)
  for (const name in early) {
    const part = (early as Record<string, unknown>)[name]
    if (isPromise(part)) part.then(undefined, ignore)
  }
}

function ignore(): void {}

/**
 * Returns the exchange of a member. A member of another instance has its own, with that instance's
 * settings.
 * @param exchangeOf the adapter's function that returned `x`
 */
export function exchangeFor<Native>(
  { exchange }: MountedFeature<unknown>,
  x: Exchange<Native>,
  exchangeOf: ExchangeOf,
): Exchange<Native> {
  return exchange === exchangeOf ? x : (exchange(x.native) as Exchange<Native>)
}
