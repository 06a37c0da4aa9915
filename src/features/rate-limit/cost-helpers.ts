/** `tp.cost.*`: what requests cost. */
import { declaredBodySize } from '../../http/request-body.ts'
import { integer, validateOptions } from '../../validate.ts'
import { MAX_LIMIT } from './operations/script.ts'

/** Options of `tp.cost.bodySize()`. */
export interface BodySizeOptions {
  /**
   * Bytes that are charged for a body whose size the client does not declare, in chunked transfer
   * coding or in HTTP/2 without Content-Length. Set as many as the application accepts. An undeclared
   * body would otherwise be free.
   */
  unknown: number
  /**
   * Bytes that cost one unit. Parts of a unit cost a whole one.
   * @default 1
   */
  unit?: number
}

/** The ready-made costs of `tp.cost`. */
export interface CostHelpers<Native> {
  /**
   * Charges a request for the size of its body, before the body is read. Requests without a body
   * cost nothing. Settle the actual size if it can differ: `req.rateLimit.settle(bytes)`.
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * tp.rateLimit({ limit: 100_000_000, window: '1d', cost: tp.cost.bodySize({ unknown: 10_000_000 }) })
   */
  bodySize(options: BodySizeOptions): (native: Native) => number
}

const BODY_SIZE_OPTIONS = { unknown: integer(1, MAX_LIMIT), unit: integer(1, MAX_LIMIT) }

/** Creates `tp.cost`. */
export function createCostHelpers<Native>(): CostHelpers<Native> {
  return {
    bodySize(options) {
      const where = 'tp.cost.bodySize()'
      // `unknown` has no default: none is safe for every application.
      validateOptions(where, { ...options, unknown: options?.unknown ?? null }, BODY_SIZE_OPTIONS)
      const { unknown, unit = 1 } = options
      return (native) =>
        Math.min(MAX_LIMIT, Math.ceil((declaredBodySize(native) ?? unknown) / unit))
    },
  }
}
