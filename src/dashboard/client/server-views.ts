/** Processes, Redis, and who changed what. */
import { formatBytes, formatSpan, formatTime } from '../../commands/format.ts'
import { ago, type View } from './context.ts'
import { h, table } from './elements.ts'

export const processesView: View = {
  title: 'Processes',
  isLive: true,
  show: (data) => [
    ...(data.differing ?? []).map((mount: string) =>
      h(
        'p',
        { class: 'notice' },
        `Processes disagree on ${mount}. Deploy the same options everywhere.`,
      ),
    ),
    table(
      'Processes',
      [
        'Process',
        'State',
        'Service',
        'Release',
        'Up',
        'Memory',
        'Loop p99',
        'Redis p99',
        'Breaker',
        'Seen',
      ],
      (data.processes ?? []).map((each: any) => ({
        key: each.id,
        cells: [
          `${each.host}/${each.pid}`,
          h(
            'span',
            { class: each.state === 'live' ? 'good' : each.state === 'late' ? 'review' : 'bad' },
            each.state,
          ),
          each.service ?? '-',
          each.release ?? '-',
          each.since === undefined ? '-' : formatSpan(data.now - each.since),
          each.rss === undefined ? '-' : formatBytes(each.rss),
          each.loopDelayMs === undefined ? '-' : `${each.loopDelayMs} ms`,
          each.redis === undefined ? '-' : `${Number(each.redis.p99).toFixed(1)} ms`,
          each.breaker ?? '-',
          ago(data.now, each.lastSeen),
        ],
      })),
    ),
  ],
}

const TONES: Record<string, string> = { ok: 'good', warn: 'review', critical: 'bad', skip: 'faint' }

export const redisView: View = {
  title: 'Redis',
  show: (data) =>
    table(
      'Checks',
      ['Check', 'Status', 'Server', 'Value', 'Threshold', 'What to do'],
      (data.findings ?? []).map((each: any) => ({
        key: `${each.server} ${each.check}`,
        cells: [
          each.check,
          h('span', { class: TONES[each.status] }, each.status),
          each.server,
          each.value,
          each.threshold,
          each.remedy ?? '-',
        ],
      })),
    ),
}

export const auditView: View = {
  title: 'Audit',
  isLive: true,
  show: (data) =>
    table(
      'Changes made by hand, the newest first',
      ['When', 'Who', 'What', 'Of', 'Why'],
      (data.entries ?? []).map((entry: any, i: number) => ({
        key: `${entry.at} ${i}`,
        cells: [formatTime(entry.at), entry.by, entry.action, entry.subject, entry.reason ?? '-'],
      })),
    ),
}
