/** What users name a resource by, as the content of a key's hash tag. */
import { TurnpikeError } from '../errors.ts'
import type { KeySpace, Subject } from './keys.ts'

/** What a `key` may return. */
export type KeyValue = Subject | number | undefined | null

/** The tag of what a `key` gave. @throws TP_KEY when that is no name */
export function subjectTag(
  keys: KeySpace,
  given: KeyValue,
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
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the key gave nothing to go by: it must give a text, a number or a list of texts, to each client its own. Use skip for requests that are not meant.`,
  )
}

/**
 * Returns whose data a call means.
 * @param context says whether the application has tenants
 * @param instead another way to say it, where there is one
 * @throws TP_KEY where the application has tenants and none is named
 */
export function requireTenant(
  context: { readonly hasTenants: boolean },
  tenant: string | undefined,
  where: string,
  instead = '',
): string | undefined {
  if (!context.hasTenants || tenant !== undefined) return tenant
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the application has tenants: say whose this is ({ tenant })${instead}.`,
  )
}
