/** `tp.ban()`: refuses clients for a while that match too often. */
import type { RuleLookup } from '../../control/active-rules.ts'
import { deniedRefusal } from '../../control/active-rules.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { passThrough, type Exchange, type Plan } from '../../http/exchange.ts'
import { andThen } from '../../http/promises.ts'
import {
  callback,
  identifier,
  integer,
  oneOf,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
  isListOf,
} from '../../validate.ts'
import type { BanSettings, ClientBans } from './client-bans.ts'
import type { BanOptions } from './options.ts'
import type { RuleReplica } from './rule-replica.ts'

const WHERE = 'tp.ban()'
const DAY = 86_400_000
const MAX_STATUSES = 100
const statusList: Validator = {
  expected: 'a list of 1 to 100 statuses, like [401, 404]',
  accepts: (value) => isListOf(value, integer(100, 599).accepts, 1, MAX_STATUSES),
}
const OPTIONS: Record<string, Validator> = {
  name: identifier,
  match: callback,
  statuses: statusList,
  on: oneOf('loginGuard'),
  limit: integer(1, 1000),
  window: durationValidator,
  for: durationValidator,
  max: durationValidator,
  ipv6Subnet: integer(1, 128),
  reply: callback,
}

/** @throws TP_OPTION */
function settingsOf<Native>(options: BanOptions<Native>): BanSettings {
  validateOptions(WHERE, options, OPTIONS)
  for (const option of ['name', 'limit', 'window', 'for'] as const)
    if (options[option] === undefined)
      throw optionError(WHERE, option, undefined, OPTIONS[option]!.expected)
  const given = (['match', 'statuses', 'on'] as const).filter((each) => options[each] !== undefined)
  if (given.length !== 1)
    throw optionRuleError(
      WHERE,
      'match',
      options.match,
      'exactly one of `match`, `statuses` and `on` says what counts against a client.',
    )
  const { name, limit, ipv6Subnet = 56 } = options
  const window = durationOption(options.window, WHERE, 'window')
  if (window > DAY) throw optionError(WHERE, 'window', options.window, 'at most a day')
  const first = durationOption(options.for, WHERE, 'for')
  const max = durationOption(options.max ?? Math.max(7 * DAY, first), WHERE, 'max')
  if (max > 365 * DAY) throw optionError(WHERE, 'max', options.max, 'at most a year')
  if (max < first)
    throw optionRuleError(
      WHERE,
      'max',
      options.max,
      '`max` is the longest ban. It is shorter than `for`.',
    )
  return { name, limit, window, first, max, ipv6Subnet }
}

/** Creates the middleware of `tp.ban()`. @throws TP_OPTION */
export function createBan<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  rules: RuleLookup,
  opened: () => Promise<RuleReplica>,
  options: BanOptions<Native>,
): Middleware {
  const settings = settingsOf(options)
  const { match, reply: replyWith } = options
  const statuses = new Set(options.statuses)
  let bans: Promise<ClientBans> | undefined
  const load = async (): Promise<ClientBans> => {
    const [replica, { ClientBans }] = await Promise.all([opened(), import('./client-bans.ts')])
    return new ClientBans(context as ExtensionContext, rules, replica, settings)
  }
  function count(address: string): void {
    // Requests do not wait for it.
    void (bans ??= load()).then((each) => each.count(address))
  }

  if (options.on === 'loginGuard')
    context.events.on('decision', ({ feature, allowed, source, subject }) => {
      const isRefusal = feature === 'loginGuard' && !allowed
      if (isRefusal && source !== 'rule' && source !== 'closed' && typeof subject === 'string')
        count(subject)
    })

  function planOf(x: Exchange<Native>): Plan {
    const { ip } = x
    if (statuses.size > 0)
      return {
        onFinish({ status, finished }) {
          if (finished && statuses.has(status)) count(ip)
        },
      }
    return passThrough
  }

  return context.mount({
    name: 'ban',
    onBackground: 'skip',
    handle(x) {
      if (rules.size > 0 && rules.effectOn(x.ip) === 'deny')
        return { refusal: deniedRefusal, replyWith }
      if (match === undefined) return planOf(x)
      const { ip } = x
      return andThen(match(x.native), (isMatch) => {
        if (isMatch) count(ip)
        return passThrough
      })
    },
  })
}
