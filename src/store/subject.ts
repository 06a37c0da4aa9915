/** Names of resources, as the content of a key's hash tag. */
import { TurnpikeError } from '../errors.ts'
import { isListOf } from '../validate.ts'
import { shownPart, type KeySpace, type Subject } from './keys.ts'

/** What a `key` may return. */
export type KeyValue = Subject | number | undefined | null

/**
 * Returns the hash tag of what a `key` returned.
 * @param canSkip whether the middleware has the option `skip`
 * @throws TP_KEY for everything that is no identity, because different clients would share it
 */
export function subjectTag(
  keys: KeySpace,
  value: KeyValue,
  tenant: string | undefined,
  where: string,
  canSkip = false,
): string {
  const remedy = canSkip ? `${RETURN} ${SKIP}` : RETURN
  return keys.tag(subjectOf(value, where, '`key` returned', remedy), tenant)
}

/**
 * Returns the hash tag of a subject that a caller passed.
 * @param isShown whether it may come from an event, where a digest stands for a long string
 * @throws TP_KEY for everything that is no identity
 */
export function passedSubjectTag(
  keys: KeySpace,
  value: KeyValue,
  tenant: string | undefined,
  where: string,
  isShown = true,
): string {
  return keys.tag(subjectOf(value, where, 'the subject is', PASS), tenant, isShown)
}

/**
 * Returns a subject as events show it. Passed to a call, it means the same subject.
 * @param tag the subject's hash tag, if it is known and contains no tenant: it saves the work
 */
export function shownSubject(value: Subject | number, tag?: string): Subject {
  // A part that begins so is a digest, because `~` is escaped in all others.
  if (typeof value === 'string')
    return tag === undefined ? shownPart(value) : tag.startsWith('~h') ? tag : value
  return typeof value === 'number' ? String(value) : value.map(shownPart)
}

const IDENTITIES = 'a string, a number, or a list of strings, none of them empty'
const RETURN = `Return ${IDENTITIES}.`
const SKIP = 'To exclude a request, use `skip`.'
const PASS = `Pass ${IDENTITIES}.`

function subjectOf(value: KeyValue, where: string, phrase: string, remedy: string): Subject {
  if (typeof value === 'string') {
    if (value !== '') return value
  } else if (typeof value === 'number') {
    if (Number.isFinite(value)) return String(value)
  } else if (isNameList(value)) {
    return value
  }
  throw new TurnpikeError('TP_KEY', `${where}: ${phrase} ${described(value)}. ${remedy}`)
}

const isName = (value: unknown): boolean => typeof value === 'string' && value !== ''

const isNameList = (value: KeyValue): value is readonly string[] => isListOf(value, isName, 1)

function described(value: unknown): string {
  if (value === '') return 'an empty string'
  if (Array.isArray(value))
    return value.length === 0
      ? 'an empty list'
      : 'a list with something else than strings, or an empty one'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  return value === undefined || value === null ? `${value}` : `${value as number} (${typeof value})`
}

/**
 * Returns whose data a call means.
 * @param context says whether the application has tenants
 * @param instead another way to say it, where there is one
 * @throws TP_KEY where the application has tenants and none is named, and for a tenant that is no name
 */
export function requireTenant(
  context: { readonly hasTenants: boolean },
  tenant: string | undefined,
  where: string,
  instead = '',
): string | undefined {
  if (typeof tenant === 'string' && tenant !== '') return tenant
  if (tenant !== undefined)
    throw new TurnpikeError(
      'TP_KEY',
      `${where}: the tenant must be a string that is not empty. It is ${described(tenant)}.`,
    )
  if (!context.hasTenants) return undefined
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the application has tenants. Name one: { tenant }${instead}.`,
  )
}
