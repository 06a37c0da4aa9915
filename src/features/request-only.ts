/** Callbacks that need nothing but the request itself. */
const EARLY = Symbol.for('turnpike.early@1')

/** May a pipeline ask for this before its other members ran? */
export const isRequestOnly = (callback: object): boolean => EARLY in callback

/** Say so of a callback. */
export const requestOnly = <Callback extends object>(callback: Callback): Callback =>
  Object.assign(callback, { [EARLY]: true })
