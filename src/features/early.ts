/** Callbacks that need nothing but the request itself. */
const EARLY = Symbol('turnpike.early')

/** May a pipeline ask for this before its other members ran? */
export const isEarly = (callback: object): boolean => EARLY in callback

/** Say so of a callback. */
export const early = <Callback extends object>(callback: Callback): Callback =>
  Object.assign(callback, { [EARLY]: true })
