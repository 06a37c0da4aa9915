/** Sets of strings of users: `subscriptions()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { requireTenant } from '../../../store/subject.ts'
import { requireUserId, type UserId } from '../../../user-id.ts'
import {
  anyString,
  identifier,
  integer,
  isListOf,
  optionError,
  validateOptions,
} from '../../../validate.ts'
import { addValues, listValues, removeValues } from './operations.ts'
import type {
  UserSubscriptions,
  UserSubscriptionsCallOptions,
  UserSubscriptionsOptions,
} from './options.ts'

const WHERE = 'subscriptions()'
const MAX_VALUE_LENGTH = 1024
/** Values of one call. */
const MAX_VALUES = 50
/** Longest time to live: a year, in ms. */
const MAX_TTL = 365 * 86_400_000

/** @throws TP_OPTION for an option that cannot be used */
export function createSubscriptions(
  context: ExtensionContext,
  options: UserSubscriptionsOptions,
): UserSubscriptions {
  validateOptions(WHERE, options, {
    name: identifier,
    ttl: durationValidator,
    max: integer(1, 1000),
  })
  const { name = 'topics', ttl: given = '90d', max = 50 } = options
  const ttl = durationOption(given, WHERE, 'ttl', 1000)
  if (ttl > MAX_TTL) throw optionError(WHERE, 'ttl', given, 'at most 365 days')
  const settings = { ttl, max }
  const isExplicit = options.name !== undefined
  context.claimName({ where: WHERE, kind: 'subscriptions', name, isExplicit, settings })
  const { keys, store } = context
  const keyOf = (
    user: UserId,
    call: UserSubscriptionsCallOptions | undefined,
    method: string,
  ): string => {
    const where = `${WHERE}.${method}()`
    if (call !== undefined) validateOptions(where, call, { tenant: anyString })
    const tenant = requireTenant(context, call?.tenant, where)
    return keys.key('subscriptions', keys.tag([name, requireUserId(user, where)], tenant))
  }
  return {
    async add(user, values, call) {
      const list = valuesOf(values, 'add')
      return await store.run(addValues, [keyOf(user, call, 'add')], [ttl, max, ...list])
    },
    async remove(user, values, call) {
      const list = valuesOf(values, 'remove')
      return await store.run(removeValues, [keyOf(user, call, 'remove')], [ttl, ...list])
    },
    list: async (user, call) => await store.run(listValues, [keyOf(user, call, 'list')], [ttl]),
  }
}

/** @throws TP_VALUE for what are no values */
function valuesOf(values: unknown, method: string): string[] {
  const list: unknown = typeof values === 'string' ? [values] : values
  if (isListOf(list, isValue, 1, MAX_VALUES)) return list as string[]
  throw new TurnpikeError(
    'TP_VALUE',
    `${WHERE}.${method}(): pass a string of 1 to ${MAX_VALUE_LENGTH} characters, or a list of 1 to ${MAX_VALUES} of them.`,
  )
}

const isValue = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= MAX_VALUE_LENGTH &&
  value.isWellFormed()
