import { TurnpikeError } from '../errors.ts'
import type { DurationHistogram } from '../feature-counts.ts'
import type { Exchange, Feature } from './exchange.ts'

export type FrameworkKind = 'connect' | 'koa'

/** How features are carried out in one framework. */
export interface FrameworkAdapter<Native, Middleware> {
  /** Which kind of framework it is. Connect stands for all that take `(req, res, next)`. */
  readonly framework: FrameworkKind
  /** The request's Exchange: one, however many features ask for it. */
  exchange(native: Native): Exchange<Native>
  /** A middleware, named after the feature, that carries it out. */
  mount<Early>(feature: Feature<Native, Early>): Middleware
  /**
   * Any middlewares as one. At entry `prepare` is called on each of ours, all in one tick; then
   * everything runs in order. What was prepared for a member that never gets its turn is discarded.
   */
  pipeline(members: readonly Middleware[]): Middleware
}

export interface AdapterOptions {
  /** What one request may spend on the store, in milliseconds. */
  budgetMs: number
  /** Records how long requests wait for the store. */
  waits?: DurationHistogram | undefined
  /** Receives, once, what is wrong with the application's proxy settings. */
  warn(message: string): void
  /** Who answers a refused request: turnpike, or the application's error handler. @default 'reply' */
  refusals?: 'reply' | 'next' | undefined
}

/** What the exchanges of one instance share. */
export interface ExchangeSettings {
  readonly budgetMs: number
  readonly waits: DurationHistogram | undefined
  /** Warns once for each kind of misconfiguration, whatever values it was seen with. */
  warnOnce(kind: string, message: string): void
}

export function exchangeSettings({ budgetMs, waits, warn }: AdapterOptions): ExchangeSettings {
  const warned = new Set<string>()
  return {
    budgetMs,
    waits,
    warnOnce(kind, message) {
      if (warned.has(kind)) return
      warned.add(kind)
      warn(message)
    },
  }
}

/** Returns the error for a middleware or call that is given what another framework calls a request. */
export function wrongFramework(given: FrameworkKind): TurnpikeError {
  return new TurnpikeError(
    'TP_OPTION',
    given === 'koa'
      ? "turnpike(): this instance is of 'turnpike/express' or 'turnpike/node', but it got Koa's ctx. Import turnpike from 'turnpike/koa'."
      : "turnpike(): this instance is of 'turnpike/koa', but it did not get Koa's ctx. Pass ctx, or import turnpike from 'turnpike/express' or 'turnpike/node'.",
  )
}

type AnyFeature = Feature<any, any>

/** A middleware of ours, as a pipeline needs it: `run` is the adapter's own way to carry it out. */
export interface MountedFeature<Run> {
  readonly feature: AnyFeature
  exchange(native: any): Exchange<any>
  readonly run: Run
}

const mounted = Symbol.for('turnpike.mounted@1')
const members = Symbol.for('turnpike.members@1')
type Marked = { [mounted]?: MountedFeature<unknown>; [members]?: readonly unknown[] }

/** Mark a middleware as ours and name it, so that stack traces say what it is. */
export function markMiddleware<Middleware extends object, Run>(
  middleware: Middleware,
  mount: MountedFeature<Run>,
): Middleware {
  Object.defineProperty(middleware, 'name', { value: mount.feature.name })
  return Object.assign(middleware, { [mounted]: mount })
}

/** Mark a middleware as a pipeline of `list`: within another pipeline its members count singly. */
export function markPipeline<Middleware extends object>(
  middleware: Middleware,
  list: readonly Middleware[],
): Middleware {
  return Object.assign(middleware, { [members]: list })
}

export function mountedFeatureOf<Run>(middleware: unknown): MountedFeature<Run> | undefined {
  return (middleware as Marked)[mounted] as MountedFeature<Run> | undefined
}

export function pipelineMembers<Middleware>(
  middleware: Middleware,
): readonly Middleware[] | undefined {
  return (middleware as Marked)[members] as readonly Middleware[] | undefined
}

/** The feature that a middleware carries out, if it is one of ours. */
export function featureOf(middleware: unknown): AnyFeature | undefined {
  return typeof middleware === 'function' ? mountedFeatureOf(middleware)?.feature : undefined
}
