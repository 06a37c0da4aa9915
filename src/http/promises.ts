/** Values that may be promises. What is there already costs no promise. */

export function isPromise<Value>(value: Promise<Value> | Value): value is Promise<Value> {
  return typeof (value as Promise<Value> | null | undefined)?.then === 'function'
}

/**
 * Calls `then` with the value: at once, unless the value is a promise. A query builder's `then` may
 * return nothing.
 */
export function andThen<Value, Result>(
  value: Value | Promise<Value>,
  then: (value: Value) => Result | Promise<Result>,
): Result | Promise<Result> {
  return isPromise(value) ? Promise.resolve(value).then(then) : then(value)
}

/** Returns a reason that no framework takes for "no error". */
export function rejectionReason(error: unknown): unknown {
  return error || new Error('A promise was rejected without a reason.')
}
