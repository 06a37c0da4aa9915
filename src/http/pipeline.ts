import { pipelineMembers, mountedFeatureOf, type MountedFeature } from './adapter.ts'
import { isPromise } from './promises.ts'
import { TurnpikeError } from '../errors.ts'

/** A member of a pipeline: a middleware, and what is known of it if it is one of ours. */
export interface Step<Middleware, Run> {
  readonly middleware: Middleware
  readonly ours: MountedFeature<Run> | undefined
}

/**
 * Check a pipeline's members when it is made. A pipeline within a pipeline counts as its members.
 *
 * @throws TurnpikeError TP_OPTION for a member that is no function, or that handles errors
 */
export function stepsOf<Middleware, Run>(list: readonly Middleware[]): Step<Middleware, Run>[] {
  return list.flatMap((middleware, index) => {
    if (typeof middleware !== 'function') {
      const type = middleware === null ? 'null' : typeof middleware
      throw new TurnpikeError(
        'TP_OPTION',
        `pipeline: member ${index + 1} is ${type}, not a function.`,
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

/** What a pipeline's members asked for at entry. Each gets it at its turn; the rest is discarded. */
export class Prepared {
  readonly #early: unknown[] = []
  readonly #steps: readonly Step<unknown, unknown>[]

  /** Call `prepare` on all of ours, in one tick. */
  constructor(steps: readonly Step<unknown, unknown>[], native: unknown) {
    this.#steps = steps
    try {
      for (const { ours } of steps) {
        const early: unknown = ours?.feature.prepare?.(ours.exchange(native))
        // Its member may be waiting for an earlier one, and no failure be looked at until then.
        if (isPromise(early)) early.then(undefined, () => {})
        this.#early.push(early)
      }
    } catch (error) {
      this.discard()
      throw error
    }
  }

  /** Give what was prepared for a member to it. */
  take(index: number): unknown {
    const early = this.#early[index]
    this.#early[index] = undefined
    return early
  }

  /** Nobody after this will get a turn. */
  discard(): void {
    for (const index of this.#early.keys()) {
      const early = this.take(index)
      if (early !== undefined) this.#steps[index]?.ours?.feature.discard?.(early)
    }
  }
}
