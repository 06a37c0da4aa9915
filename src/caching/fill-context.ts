/** Which fills the running code is a part of, so that it never waits for itself. */
import { AsyncLocalStorage } from 'node:async_hooks'

/** A fill, as its own code has to know it. */
interface RunningFill {
  readonly isOver: boolean
  isOf(store: object, key: string): boolean
}

/** A fill, and the fill that it is a part of. */
interface FillScope {
  /** Undefined: the running code may be a part of any fill that is not traced. */
  readonly fill: RunningFill | undefined
  readonly outer: FillScope | undefined
}

const UNKNOWN: FillScope = { fill: undefined, outer: undefined }
const scopes = new AsyncLocalStorage<FillScope | undefined>()
/**
 * True once a handler may have sent a request to this process. Before, handlers run without a scope:
 * on Node 20 and 22 the first scope makes each promise of the process cost more.
 */
let isTracing = false
/** Number of handlers that fill an entry without a scope. */
let untracedFills = 0

/** Returns the scope of the running code. Timers and pools may keep one beyond its fill. */
function currentScope(): FillScope | undefined {
  let scope = scopes.getStore() ?? (untracedFills > 0 ? UNKNOWN : undefined)
  while (scope?.fill?.isOver) scope = scope.outer
  return scope
}

/** Runs what fills an entry. */
export function runFill<Result>(fill: RunningFill, work: () => Result): Result {
  return scopes.run({ fill, outer: currentScope() }, work)
}

/** Returns whether handlers have to run by `runFill`. */
export const isTracingFills = (): boolean => isTracing

/** Notes a handler that fills an entry without a scope. Returns the function to call at its end. */
export function beginUntracedFill(): () => void {
  untracedFills++
  return () => void untracedFills--
}

/** Returns whether the running code is a part of the fill of an entry. */
export function isWithinFill(store: object, key: string): boolean {
  for (let scope = scopes.getStore(); scope !== undefined; scope = scope.outer)
    if (scope.fill?.isOf(store, key)) return true
  return false
}

/** Returns whether the running code may be a part of a fill that is not traced. */
export function mayBeWithin(flight: { readonly isTraced: boolean } | undefined): boolean {
  if (flight === undefined || flight.isTraced) return false
  for (let scope = scopes.getStore(); scope !== undefined; scope = scope.outer)
    if (scope === UNKNOWN) return true
  return false
}

/** The scope as requests of this process to itself carry it along. */
export const fillContext = {
  current: currentScope as () => object | undefined,
  /** Continues in the scope of the code that has sent a request. */
  enter(scope: object | undefined): void {
    if (scope !== undefined) isTracing = true
    if (scope !== scopes.getStore()) scopes.enterWith(scope as FillScope | undefined)
  },
}
