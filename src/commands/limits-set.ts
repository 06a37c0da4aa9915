/** `turnpike limits set`, `limits unset`: the limits of a single subject. */
import { CONTEXT, type Instance } from '../extension.ts'
import { MAX_LIMIT, resetPolicies, setOverrides } from '../features/rate-limit/inspection.ts'
import { closestMatch } from '../validate.ts'
import { durationOf, makeChange, nothingToChange } from './change.ts'
import { CommandError, type Command } from './command.ts'
import { orNull } from './find-keys.ts'
import { readOverridePlaces, subjectTagOf, type OverridePlace } from './limits.ts'
import { formatSpan } from './format.ts'
import type { RedisTarget } from './target.ts'

const YEAR = 365 * 86_400_000
/** The longest time that overrides apply. */
const MAX_MS = 3_650 * 86_400_000

/** The limits of a subject by policy name. */
type Limits = ReadonlyMap<string, string>

/** Reads the overrides of a subject as they stand in Redis. */
async function readOverrides(target: RedisTarget, { key }: OverridePlace): Promise<Limits> {
  const access = await target.access('rateLimit')
  const reply = (await orNull(access.send('HGETALL', key))) as string[] | null
  const fields = (reply ?? []).flat().map(String)
  const limits = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2)
    if (fields[i] !== '~') limits.set(fields[i]!, fields[i + 1]!)
  return limits
}

/** Writes the overrides of a subject, and ends what deny caches remember. */
async function writeOverrides(
  target: RedisTarget,
  { key, version }: OverridePlace,
  tag: string,
  args: readonly (string | number)[],
): Promise<void> {
  const { store } = (target.instance() as Instance)[CONTEXT]('rateLimit')
  await store.run(setOverrides, [key], args)
  const channel = target.keys('rateLimit', version).channel('limit', 'reset')
  await store.run(resetPolicies, [], [channel, tag])
}

const shownLimit = (limit: string): string => (Number(limit) >= MAX_LIMIT ? 'unlimited' : limit)
const shownLimits = (limits: Limits): string =>
  [...limits].map(([policy, limit]) => `${policy}=${shownLimit(limit)}`).join(' ')

/** Reads `minute=600 day=unlimited`. @throws CommandError */
function limitsOf(words: readonly string[], known: readonly string[]): Limits {
  const limits = new Map<string, string>()
  for (const word of words) {
    const [, policy = '', value = ''] = /^([\w.-]{1,40})=(.*)$/s.exec(word) ?? []
    const limit = value === 'unlimited' ? MAX_LIMIT : Number(value)
    if (policy === '' || (value !== 'unlimited' && !/^\d{1,12}$/.test(value)))
      throw new CommandError('usage', `Write POLICY=600 or POLICY=unlimited. It is '${word}'.`)
    if (!known.includes(policy)) {
      const near = closestMatch(policy, known)
      const hint = near === undefined ? `Policies: ${known.join(', ')}.` : `Did you mean ${near}?`
      throw new CommandError('usage', `No limit with overrides has a policy '${policy}'. ${hint}`)
    }
    limits.set(policy, String(limit))
  }
  return limits
}

/** @throws CommandError if no limit reads overrides */
async function placesOf(target: RedisTarget, tag: string): Promise<OverridePlace[]> {
  const places = await readOverridePlaces(target, tag)
  if (places.length === 0)
    throw new CommandError(
      'finding',
      'No mounted limit reads overrides: all have overrides: false.',
    )
  return places
}

export const limitsSet: Command = {
  name: 'limits set',
  usage: 'SUBJECT... POLICY=LIMIT...',
  takes: [2, 32],
  summary: 'Set the limits of a single subject, in place of those of the policies.',
  notes: [
    'All limits read them but those with `overrides: false`. Policies that are not named lose their override. Several arguments without `=` are the parts of one subject.',
  ],
  options: {
    for: {
      type: 'string',
      value: 'DURATION',
      help: 'How long, like 30m, 1h or 7d. Default: until half a year to a year after the last use.',
    },
  },
  redis: 'write',
  examples: ['turnpike limits set user-42 minute=600 --for 7d --reason "a launch"'],
  async run(call) {
    const first = call.args.findIndex((word) => word.includes('='))
    if (first < 1) throw new CommandError('usage', 'Name the subject, then POLICY=LIMIT.')
    const [parts, words] = [call.args.slice(0, first), call.args.slice(first)]
    const ms = durationOf(call, 'for', MAX_MS)
    const target = await call.target()
    const tag = subjectTagOf(target, parts)
    const places = await placesOf(target, tag)
    const limits = limitsOf(words, [...new Set(places.flatMap(({ policies }) => policies))])
    const before = await readOverrides(target, places[0]!)
    const shown = parts.join(' ')
    const span = ms === undefined ? '' : ` for ${formatSpan(ms)}`
    const instead = before.size === 0 ? 'It has none now.' : `It has ${shownLimits(before)} now.`
    return await makeChange(call, limitsSet, target, {
      subject: `${shown} ${shownLimits(limits)}${span}`,
      lines: [`Set the limits of ${shown} to ${shownLimits(limits)}${span}. ${instead}`],
      async make() {
        const args = [ms ?? YEAR, ms === undefined ? YEAR : 0, ...[...limits].flat()]
        for (const place of places) await writeOverrides(target, place, tag, args)
        return {
          data: { subject: tag, limits: Object.fromEntries(limits) },
          line: `Set: ${shownLimits(limits)}.`,
        }
      },
    })
  },
}

export const limitsUnset: Command = {
  name: 'limits unset',
  usage: 'SUBJECT...',
  takes: [1, 16],
  summary: 'Delete the limits of a single subject: those of the policies apply again.',
  redis: 'write',
  examples: ['turnpike limits unset user-42 --reason "the launch is over"'],
  async run(call) {
    const target = await call.target()
    const tag = subjectTagOf(target, call.args)
    const places = await placesOf(target, tag)
    const before = await Promise.all(places.map((place) => readOverrides(target, place)))
    const found = before.find(({ size }) => size > 0)
    const shown = call.args.join(' ')
    if (found === undefined) return nothingToChange(`${shown} has no limits of its own.`)
    return await makeChange(call, limitsUnset, target, {
      subject: shown,
      lines: [`Forget the limits of ${shown}: ${shownLimits(found)}.`],
      async make() {
        for (const place of places) await writeOverrides(target, place, tag, [0, 0])
        return { data: { subject: tag }, line: 'Deleted.' }
      },
    })
  },
}
