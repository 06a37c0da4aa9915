import { isPromise } from './adapter.ts'

/** Go on with a value: at once where it is there, so that nobody pays for a promise that is not needed. */
export function andThen<Value, Result>(
  value: Value | Promise<Value>,
  then: (value: Value) => Result | Promise<Result>,
): Result | Promise<Result> {
  return isPromise(value) ? value.then(then) : then(value)
}
