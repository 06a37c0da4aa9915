/** What a value that was found may be used for. */
import type { Found } from '../../caching/place.ts'

/** Until when it is fresh, and how much earlier than planned that is. */
const freshUntil = ({ entry, validUntil }: Found): number =>
  Math.min(entry!.freshUntil, validUntil!)
const isValid = ({ entry, validUntil }: Found): boolean =>
  entry !== undefined && validUntil !== undefined
export const isFresh = (found: Found): boolean => isValid(found) && found.now < freshUntil(found)
export const isStale = (found: Found): boolean =>
  isValid(found) &&
  found.now < freshUntil(found) + found.entry!.staleUntil - found.entry!.freshUntil
export const isSpare = (found: Found, now: number): boolean =>
  isValid(found) && now < freshUntil(found) + found.entry!.errorUntil - found.entry!.freshUntil
