/** `tp.control.maintenance()`: switches maintenance, and notes who has done it. */
import {
  isBypass,
  MAX_DETAIL,
  MAX_EXEMPT,
  type MaintenanceSwitch,
  type StoredMaintenance,
} from '../../documents/maintenance-switch.ts'
import { durationOption, durationValidator, printDuration } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { parseAddressPrefix } from '../../http/address-prefix.ts'
import { isObject, optionError, validateOptions, type Validator, isListOf } from '../../validate.ts'
import { appendAudit } from '../audit.ts'
import type { RuleOptions } from './change-options.ts'
import type { MaintenanceReport, MaintenanceSettings } from './maintenance-options.ts'
import { checkedOptions, RULE_OPTIONS, stringUpTo, timeInForce } from './rule-options.ts'

const WHERE = 'tp.control.maintenance()'

const listOf = (expected: string, accepts: (each: string) => boolean): Validator => ({
  expected: `a list of at most ${MAX_EXEMPT} ${expected}`,
  accepts: (value) =>
    isListOf(
      value,
      (each) => typeof each === 'string' && each.length <= 200 && accepts(each),
      0,
      MAX_EXEMPT,
    ),
})

const SETTINGS: Record<string, Validator> = {
  retryAfter: durationValidator,
  detail: stringUpTo(MAX_DETAIL),
  allow: listOf(
    "addresses and networks like '203.0.113.0/24'",
    (each) => parseAddressPrefix(each) !== undefined,
  ),
  bypass: listOf("paths like '/webhooks', without '/' at the end", isBypass),
}

/** Switches maintenance on, or off. @throws TP_OPTION, TP_UNAVAILABLE, TP_VALUE */
export async function changeMaintenance(
  { keys, store }: ExtensionContext,
  held: MaintenanceSwitch,
  settings: MaintenanceSettings | 'off',
  options: RuleOptions,
): Promise<MaintenanceReport> {
  const isKnown: boolean = settings === 'off' || isObject(settings)
  if (!isKnown)
    throw optionError(WHERE, 'settings', settings, "an object like { retryAfter: '10m' }, or 'off'")
  const author = checkedOptions(WHERE, options, RULE_OPTIONS)
  const { by, reason } = author
  if (settings === 'off') {
    const state = await held.change({ on: false, by, reason })
    await appendAudit(store, keys, { action: 'maintenance off', by, reason, subject: 'default' })
    return reportOf(state, false)
  }
  validateOptions(WHERE, settings, SETTINGS)
  const { retryAfter, detail, allow, bypass } = settings
  const retryAfterMs =
    retryAfter === undefined ? undefined : durationOption(retryAfter, WHERE, 'retryAfter')
  const ms = timeInForce(WHERE, author) || undefined
  const named = allow?.map((each) => parseAddressPrefix(each)!.text)
  const next = { on: true, by, reason, detail, retryAfterMs, allow: named, bypass }
  const state = await held.change(next, ms)
  const exempt = [...(named ?? []), ...(bypass ?? [])]
  const subject = [
    'default',
    ms && `for ${printDuration(ms)}`,
    exempt.length > 0 && `but ${exempt.join(' ')}`,
  ]
  await appendAudit(store, keys, {
    action: 'maintenance on',
    by,
    reason,
    subject: subject.filter(Boolean).join(' '),
  })
  return reportOf(state, held.isOn)
}

/** Returns the state as a program sees it. */
export function reportOf(
  { since, until, by, reason, detail, retryAfterMs, allow = [], bypass = [] }: StoredMaintenance,
  on: boolean,
): MaintenanceReport {
  return { on, since, until, by, reason, detail, retryAfterMs, allow, bypass }
}
