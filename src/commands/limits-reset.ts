/** `turnpike limits reset`: forgets what was counted for a subject. */
import { resetPolicies } from '../features/rate-limit/inspection.ts'
import { CONTEXT } from '../extension.ts'
import type { Command } from './command.ts'
import { makeChange, nothingToChange } from './change.ts'
import { formatSpan } from './format.ts'
import { readSubject, subjectTagOf } from './limits.ts'

export const limitsReset: Command = {
  name: 'limits reset',
  usage: 'SUBJECT...',
  takes: [1, 16],
  summary: 'Forget what all limits have counted for a subject, and end its blocks.',
  notes: [
    'Deny caches of all processes forget the subject, too. Several arguments are the parts of one subject.',
  ],
  options: {
    name: { type: 'string', value: 'LIMIT', help: 'Only this limit. Default: all.' },
  },
  redis: 'write',
  examples: ['turnpike limits reset 203.0.113.7 --reason "support ticket 7"'],
  async run(call) {
    const target = await call.target()
    const tag = subjectTagOf(target, call.args)
    const { name } = call.options
    const all = await readSubject(target, tag)
    const rows = all.filter(
      ({ isStored, limit }) => isStored && (name === undefined || limit === name),
    )
    if (rows.length === 0) return nothingToChange('No limit has counted anything for this subject.')
    return await makeChange(call, limitsReset, target, {
      subject: call.args.join(' '),
      state: rows.map(({ limit, policy, state }) => [limit, policy, state?.isBlocked ?? null]),
      lines: [
        `Forget what was counted for ${call.args.join(' ')}:`,
        ...rows.map(({ limit, policy, state }) =>
          state === undefined
            ? `  ${limit}, ${policy}`
            : `  ${limit}, ${policy}: ${state.remaining} of ${state.limit} left, reset in ${formatSpan(state.reset)}`,
        ),
      ],
      async make() {
        const { store } = target.instance()[CONTEXT]('rateLimit')
        let count = 0
        for (const { key, version } of rows) {
          const channel = target.keys('rateLimit', version).channel('limit', 'reset')
          count += await store.run(resetPolicies, [key], [channel, tag])
        }
        return { data: { count }, line: `Forgotten: ${count}.` }
      },
    })
  },
}
