import type { KeySpace, Subject } from '../../store/keys.ts'
import { noSubject } from './charge.ts'

/** What a `key` may give. */
export type Given = Subject | number | undefined | null

/** The tag of what a `key` gave. @throws TP_KEY when that is nothing to count by */
export function tagOf(
  keys: KeySpace,
  given: Given,
  tenant: string | undefined,
  where: string,
): string {
  if (typeof given === 'number') {
    if (!Number.isNaN(given)) return keys.tag(String(given), tenant)
  } else if (
    typeof given === 'string' ||
    (Array.isArray(given) && given.length > 0 && given.every((each) => typeof each === 'string'))
  ) {
    return keys.tag(given, tenant)
  }
  throw noSubject(where)
}
