/** `tp.overrides`: limits of single subjects, stored in Redis and read by the limiter's own script. */
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Subject } from '../../store/keys.ts'
import { passedSubjectTag, requireTenant } from '../../store/subject.ts'
import { identifier, isObject, optionError, validateOptions } from '../../validate.ts'
import { getOverrides, setOverrides } from './operations/overrides.ts'
import { resetPolicies } from './operations/reset.ts'
import { RESET_OPTIONS } from './limiter-options.ts'
import { MAX_LIMIT } from './operations/script.ts'
import { fixedLimitValidator } from './policy.ts'

/** Options of all methods of `tp.overrides`. */
export interface OverrideOptions {
  /** Tenant of the subject. Required if the application has tenants. */
  tenant?: string
}

/** Limits of single subjects. They replace a policy's own limit, whether that is a number or a function. */
export interface LimitOverrides {
  /**
   * Sets the limits of a subject by policy name, in place of all earlier ones. They apply from the next request on.
   * @param limits limits by policy name. Infinity: the subject is not limited
   * @param options.ttl how long they apply; default: until half a year to a year after the last use
   * @throws TP_OPTION for a limit that is no integer, a name that no policy can have, and more than 100 limits
   * @throws TP_KEY if the application has tenants and none is named
   * @throws TP_UNAVAILABLE if the store cannot answer
   * @example
   * await tp.overrides.set('user-42', { minute: 600 })
   */
  set(
    subject: Subject,
    limits: Record<string, number>,
    options?: OverrideOptions & { ttl?: Duration },
  ): Promise<void>
  /** Returns the limits of a subject, `{}` if it has none. @throws TP_UNAVAILABLE */
  get(subject: Subject, options?: OverrideOptions): Promise<Record<string, number>>
  /** Deletes the limits of a subject. Returns true if it had any. @throws TP_UNAVAILABLE */
  delete(subject: Subject, options?: OverrideOptions): Promise<boolean>
}

const WHERE = 'tp.overrides'
const YEAR = 365 * 86_400_000
/** Creates `tp.overrides`. */
export function createLimitOverrides(context: ExtensionContext): LimitOverrides {
  const tagOf = (subject: Subject, tenant: string | undefined): string => {
    requireTenant(context, tenant, WHERE, ', or use tp.forTenant(id)')
    return passedSubjectTag(context.keys, subject, tenant, WHERE)
  }
  const keyOf = (tag: string): string => context.keys.key('limits', tag)
  /** Refusals that were remembered under the old limits are void. */
  const publishReset = (tag: string): Promise<number> =>
    context.store.run(resetPolicies, [], [context.keys.channel('limit', 'reset'), tag])

  return {
    async set(subject, limits, options = {}) {
      const where = `${WHERE}.set()`
      validateOptions(where, options, { ...RESET_OPTIONS, ttl: durationValidator })
      validateLimits(where, limits)
      const tag = tagOf(subject, options.tenant)
      const ttl = options.ttl === undefined ? YEAR : durationOption(options.ttl, where, 'ttl')
      const renewal = options.ttl === undefined ? YEAR : 0
      await context.store.run(
        setOverrides,
        [keyOf(tag)],
        [ttl, renewal, ...Object.entries(limits).flatMap(stored)],
      )
      await publishReset(tag)
    },
    async get(subject, options = {}) {
      validateOptions(`${WHERE}.get()`, options, RESET_OPTIONS)
      const { tenant } = options
      const key = keyOf(tagOf(subject, tenant))
      const [, ...pairs] = await context.store.run(getOverrides, [key], [])
      return Object.fromEntries(
        pairs.flatMap((name, i) => (i % 2 === 0 ? [[name, limitOf(pairs[i + 1]!)]] : [])),
      )
    },
    async delete(subject, options = {}) {
      validateOptions(`${WHERE}.delete()`, options, RESET_OPTIONS)
      const { tenant } = options
      const tag = tagOf(subject, tenant)
      const [timeLeft] = await context.store.run(getOverrides, [keyOf(tag)], [])
      await context.store.run(setOverrides, [keyOf(tag)], [0, 0])
      await publishReset(tag)
      return timeLeft !== '-2'
    },
  }
}

/** The highest limit stands for no limit, in Redis and in scripts. */
const stored = ([policy, limit]: [string, number]): [string, number] => [
  policy,
  limit === Infinity ? MAX_LIMIT : limit,
]
const limitOf = (value: string): number => (Number(value) >= MAX_LIMIT ? Infinity : Number(value))

/** Limits of one subject: those of a few limiters with a few policies each. */
const MAX_LIMITS = 100

function validateLimits(where: string, limits: unknown): void {
  if (!isObject(limits) || Object.keys(limits).length === 0)
    throw optionError(where, 'limits', limits, 'an object like { minute: 600 }')
  if (Object.keys(limits).length > MAX_LIMITS)
    throw optionError(where, 'limits', limits, `an object with at most ${MAX_LIMITS} limits`)
  for (const [policy, limit] of Object.entries(limits)) {
    if (!identifier.accepts(policy))
      throw optionError(
        where,
        'the name of a policy',
        policy,
        identifier.expected,
        identifier.suggest?.(policy),
      )
    if (!fixedLimitValidator.accepts(limit)) {
      const { expected, suggest } = fixedLimitValidator
      throw optionError(where, policy, limit, expected, suggest?.(limit))
    }
  }
}
