/** `turnpike audit`: who has changed what by hand. */
import { auditKey, parseAuditEntry } from '../operations/audit.ts'
import type { Command } from './command.ts'
import { countOption, orNull } from './find-keys.ts'
import { formatTime } from './format.ts'
import { tableLines } from './output.ts'

export const audit: Command = {
  name: 'audit',
  usage: '',
  takes: [0, 0],
  summary: 'List the changes that people have made, the newest first.',
  notes: ['The last 1,000 are kept, for 400 days.'],
  options: {
    limit: { type: 'string', value: 'COUNT', help: 'Number of changes. Default: 50.' },
  },
  redis: 'read',
  permissions: ['lrange'],
  async run(call) {
    const most = countOption(call.options, 'limit', 50)
    const target = await call.target()
    const access = await target.access('operations')
    const key = auditKey(target.keys('operations'))
    const stored = (await orNull(access.send('LRANGE', key, 0, most - 1))) as string[] | null
    const entries = (stored ?? []).flatMap((text) => parseAuditEntry(text) ?? [])
    return {
      data: { entries },
      lines:
        entries.length === 0
          ? ['Nothing was changed.']
          : tableLines([
              ['when', 'who', 'what', 'of', 'why'],
              ...entries.map(({ action, at, by, reason, subject }) => [
                formatTime(at),
                by,
                action,
                subject,
                reason ?? '-',
              ]),
            ]),
    }
  },
}
