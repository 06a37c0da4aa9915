/** What a value that was found may be used for. */
import type { LookupResult } from '../../caching/entry-keys.ts'

/** Until when it is fresh, and how much earlier than planned that is. */
const freshUntil = ({ entry, validUntil }: LookupResult): number =>
  Math.min(entry!.freshUntil, validUntil!)
const isValid = ({ entry, validUntil }: LookupResult): boolean =>
  entry !== undefined && validUntil !== undefined
export const isFresh = (found: LookupResult): boolean =>
  isValid(found) && found.now < freshUntil(found)
export const isStale = (found: LookupResult): boolean =>
  isValid(found) &&
  found.now < freshUntil(found) + found.entry!.staleUntil - found.entry!.freshUntil
export const isSpare = (found: LookupResult, now: number): boolean =>
  isValid(found) && now < freshUntil(found) + found.entry!.errorUntil - found.entry!.freshUntil
