/** Callbacks of options that read only the request itself, so that a pipeline may call them in advance. */
const REQUEST_ONLY = Symbol.for('turnpike.early@1')

/** Returns true if the callback reads nothing that an earlier middleware adds. */
export const isRequestOnly = (callback: object): boolean => REQUEST_ONLY in callback

/** Marks a callback that reads nothing that an earlier middleware adds. */
export const requestOnly = <Callback extends object>(callback: Callback): Callback =>
  Object.assign(callback, { [REQUEST_ONLY]: true })
