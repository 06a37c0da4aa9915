/** `tp.limits`: limits of single subjects, stored in Redis and read by the limiter's own script. */
import { validateOptions, isObject, optionError, integer } from '../../validate.ts'
import { durationOption, durationValidator, type Duration } from '../../duration.ts'
import type { Subject } from '../../store/keys.ts'
import type { ExtensionContext } from '../../extension.ts'
import { getOverrides, setOverrides } from './overrides.ts'
import { MOST } from './policy.ts'
import { reset } from './reset.ts'
import { subjectTag } from '../../store/subject.ts'

export interface OverrideOptions {
  /** Whose subject, where the application has tenants. */
  tenant?: string
}

/** Limits of single subjects. They come before a policy's own limit, be it a number or a function. */
export interface LimitOverrides {
  /**
   * Set the limits of a subject by policy name, in place of all earlier ones. They apply from the next request on.
   * @param options.ttl how long; default: until half a year to a year after the last use
   * @throws TP_OPTION for a limit that is no whole number
   * @throws TP_UNAVAILABLE when the store cannot answer
   */
  set(
    subject: Subject,
    limits: Record<string, number>,
    options?: OverrideOptions & { ttl?: Duration },
  ): Promise<void>
  /** The limits of a subject, `{}` where it has none of its own. @throws TP_UNAVAILABLE */
  get(subject: Subject, options?: OverrideOptions): Promise<Record<string, number>>
  /** Take a subject's limits away; true if it had any. @throws TP_UNAVAILABLE */
  delete(subject: Subject, options?: OverrideOptions): Promise<boolean>
}

const YEAR = 365 * 86_400_000

export function createOverrides(context: ExtensionContext): LimitOverrides {
  const tag = (subject: Subject, tenant: string | undefined): string =>
    subjectTag(context.keys, subject, tenant, 'tp.limits')
  const key = (own: string): string => context.keys.key('limits', own)
  /** Refusals remembered under the old limits are void. */
  const announce = (own: string): Promise<number> =>
    context.store.run(reset, [], [context.keys.channel('limit', 'reset'), own])

  return {
    async set(subject, given, options = {}) {
      const where = 'tp.limits.set()'
      validateOptions(where, options, {
        ttl: durationValidator,
        tenant: { expected: 'a text', accepts: (value) => typeof value === 'string' },
      })
      if (!isObject(given) || Object.keys(given).length === 0) {
        throw optionError(where, 'limits', given, 'an object like { minute: 600 }')
      }
      const amount = integer(0, MOST)
      for (const [policy, limit] of Object.entries(given)) {
        if (!amount.accepts(limit))
          throw optionError(where, policy, limit, amount.expected, amount.suggest?.(limit))
      }
      const own = tag(subject, options.tenant)
      const ttl = options.ttl === undefined ? YEAR : durationOption(options.ttl, where, 'ttl')
      const renewal = options.ttl === undefined ? YEAR : 0
      await context.store.run(
        setOverrides,
        [key(own)],
        [ttl, renewal, ...Object.entries(given).flat()],
      )
      await announce(own)
    },
    async get(subject, { tenant } = {}) {
      const [, ...pairs] = await context.store.run(getOverrides, [key(tag(subject, tenant))], [])
      return Object.fromEntries(
        pairs.flatMap((name, i) => (i % 2 === 0 ? [[name, Number(pairs[i + 1])]] : [])),
      )
    },
    async delete(subject, { tenant } = {}) {
      const own = tag(subject, tenant)
      const [left] = await context.store.run(getOverrides, [key(own)], [])
      await context.store.run(setOverrides, [key(own)], [0, 0])
      await announce(own)
      return left !== '-2'
    },
  }
}
