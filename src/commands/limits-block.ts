/** `turnpike limits block`: refuses everything that a subject asks, for a while. */
import { CONTEXT } from '../extension.ts'
import {
  applyPolicies,
  policyArguments,
  policyAt,
  resetPolicies,
} from '../features/rate-limit/inspection.ts'
import { durationOf, makeChange, nothingToChange } from './change.ts'
import { CommandError, type Command } from './command.ts'
import { readBlockable, subjectTagOf } from './limits.ts'
import { formatSpan } from './format.ts'

/** The longest block of a limit. */
const MAX_BLOCK = 100_000 * 86_400_000

export const limitsBlock: Command = {
  name: 'limits block',
  usage: 'SUBJECT...',
  takes: [1, 16],
  summary: 'Refuse everything that a subject asks of a limit, for a while.',
  notes: [
    'The command `turnpike limits reset` ends the block. Several arguments are the parts of one subject.',
  ],
  options: {
    for: { type: 'string', value: 'DURATION', help: 'How long, like 30m, 1h or 7d.' },
    name: { type: 'string', value: 'LIMIT', help: 'Only this limit. Default: all.' },
  },
  redis: 'write',
  examples: ['turnpike limits block 203.0.113.7 --for 1h --reason "scraper"'],
  async run(call) {
    const ms = durationOf(call, 'for', MAX_BLOCK)
    if (ms === undefined) throw new CommandError('usage', 'For how long? Pass --for 1h.')
    const target = await call.target()
    const tag = subjectTagOf(target, call.args)
    const { name } = call.options
    const all = await readBlockable(target, tag)
    const found = all.filter(({ limit }) => name === undefined || limit === name)
    if (found.length === 0) return nothingToChange('There is no such limit.')
    const shown = call.args.join(' ')
    return await makeChange(call, limitsBlock, target, {
      subject: `${shown} for ${formatSpan(ms)}`,
      lines: [
        `Block ${shown} for ${formatSpan(ms)}:`,
        ...found.map(({ limit, policy }) => `  ${limit}, ${policy.name}`),
      ],
      async make() {
        const { store } = target.instance()[CONTEXT]('rateLimit')
        for (const { key, policy, version } of found) {
          const { limit = 1, window = 60_000 } = policy
          const known = policyAt({ ...policy, limit, window }, store.now())
          if (known === undefined) continue
          const blocking = { ...known, override: 0, cost: ms }
          await store.run(applyPolicies, [key], policyArguments('block', [blocking], 0))
          // Processes with a lease would admit the subject until its end.
          const channel = target.keys('rateLimit', version).channel('limit', 'reset')
          await store.run(resetPolicies, [], [channel, tag])
        }
        return { data: { count: found.length }, line: `Blocked: ${found.length}.` }
      },
    })
  },
}
