/** Which fills the running code is a part of, so that it never waits for itself. */
import { AsyncLocalStorage } from 'node:async_hooks'

/** A fill, and the fill that it is a part of. */
interface FillScope {
  readonly key: string
  readonly store: object
  readonly outer: FillScope | undefined
}

const scopes = new AsyncLocalStorage<FillScope>()

/** Runs what fills an entry. @param store keys of different stores are different entries */
export function runFill<Result>(store: object, key: string, work: () => Result): Result {
  return scopes.run({ key, store, outer: scopes.getStore() }, work)
}

/** Returns whether the running code is a part of the fill of an entry. */
export function isWithinFill(store: object, key: string): boolean {
  for (let scope = scopes.getStore(); scope !== undefined; scope = scope.outer)
    if (scope.key === key && scope.store === store) return true
  return false
}
