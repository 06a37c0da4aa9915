/** The option `near` of `tp.session()`. */
import { durationOption, durationValidator } from '../../duration.ts'
import {
  anyOf,
  integer,
  isObject,
  optionError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { SessionOptions } from './options.ts'

/** The option `near` with its defaults. */
export interface NearSettings {
  /** How long a copy may be served, in ms. */
  readonly ms: number
  /** What all copies of the mount may take. */
  readonly maxBytes: number
}

export const nearValidator: Validator = anyOf(durationValidator, {
  expected: "{ for: '2s', maxBytes }",
  accepts: (value) =>
    isObject(value) &&
    value['for'] !== undefined &&
    Object.keys(value).every((key) => key === 'for' || key === 'maxBytes'),
})

/** Longest time for which a copy may be served, in ms. */
const MAX_NEAR_MS = 60_000
const DEFAULT_NEAR_BYTES = 33_554_432

/** Returns the option `near` with its defaults. @throws TP_OPTION */
export function nearSettings(
  where: string,
  near: SessionOptions<never>['near'],
): NearSettings | undefined {
  if (near === undefined) return undefined
  const { for: time, maxBytes = DEFAULT_NEAR_BYTES } = isObject(near) ? near : { for: near }
  validateOptions(`${where}: near`, { maxBytes }, { maxBytes: integer(1) })
  const ms = durationOption(time, where, 'near')
  if (ms <= MAX_NEAR_MS) return { ms, maxBytes }
  throw optionError(
    where,
    'near',
    near,
    "at most '1m': for so long a session that has ended elsewhere may be accepted",
  )
}
