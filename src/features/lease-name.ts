/** Names of locks, runs and semaphores: a string, or a list of strings as one compound name. */
import { TurnpikeError } from '../errors.ts'
import type { KeySpace, Subject } from '../store/keys.ts'
import { nonEmptyString, isListOf } from '../validate.ts'

/**
 * Returns the tag of a name.
 * @throws TP_KEY if it is neither a non-empty string nor a non-empty list of such strings
 */
export function nameTag(
  keys: KeySpace,
  name: Subject,
  tenant: string | undefined,
  where: string,
): string {
  const parts: readonly unknown[] = Array.isArray(name) ? name : [name]
  if (isListOf(parts, nonEmptyString.accepts, 1)) return keys.tag(name, tenant)
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the name must be a string that is not empty, or a list of such strings.`,
  )
}

/** Returns a name as it stands in events and errors. */
export const printName = (name: Subject): string =>
  typeof name === 'string' ? name : name.join(':')
