/** The first page. */
import { formatBytes, formatShare } from '../../commands/format.ts'
import { h, table, type Content } from './elements.ts'
import { ago, type View } from './context.ts'

/** Marks of a hit rate: review below the first, good from the second on. */
const HIT_RATE = { low: 0.5, high: 0.8, optimum: 1 }
const MEMORY = { low: 0.8, high: 0.9, optimum: 0 }

function gauge(label: string, value: number | undefined, marks: object, shown: string): Content {
  const bar =
    value !== undefined && h('meter', { 'aria-label': label, min: 0, max: 1, value, ...marks })
  return h('li', { key: label }, label, h('b', {}, shown), bar)
}

const card = (label: string, shown: string | number): Content =>
  gauge(label, undefined, {}, `${shown}`)

const TONES: Record<string, string> = { healthy: 'good', degraded: 'review', error: 'bad' }

const serviceTable = (services: any[], now: number): Content =>
  table(
    'Services',
    ['Service', 'State', 'Response', 'Errors', 'Checked'],
    services.map(({ errorRate, lastCheck, name, responseTimeMs, status }) => ({
      key: name,
      cells: [
        name,
        h('span', { class: TONES[status] }, status),
        responseTimeMs === undefined ? '-' : `${responseTimeMs} ms`,
        formatShare(errorRate),
        ago(now, lastCheck),
      ],
    })),
  )

export const overviewView: View = {
  title: 'Overview',
  isLive: true,
  show(data) {
    const {
      attention = [],
      cacheHitRate,
      counts = [],
      processes = {},
      servers = [],
      services = [],
      storeP99,
    } = data
    const refused = counts
      .filter(({ kind, outcome }: any) => kind === 'limit' && outcome === 'refused')
      .reduce((sum: number, { count }: any) => sum + Number(count), 0)
    const cards = [
      card('Live processes', processes.live ?? 0),
      card('Lost processes', processes.lost ?? 0),
      card('Refused in the last minute', refused),
      card('Redis p99', storeP99 === undefined ? '-' : `${Number(storeP99).toFixed(1)} ms`),
      gauge(
        'Answered from caches',
        cacheHitRate,
        HIT_RATE,
        cacheHitRate === undefined ? '-' : formatShare(cacheHitRate),
      ),
    ]
    const gauges = [
      ...servers.map(({ address, maxMemory, memory }: any) =>
        gauge(
          `Memory of ${address}`,
          maxMemory ? memory / maxMemory : undefined,
          MEMORY,
          `${formatBytes(memory)}${maxMemory ? ` of ${formatBytes(maxMemory)}` : ''}`,
        ),
      ),
      ...servers.map(({ address, hitRate }: any) =>
        gauge(
          `Reads of ${address} that find a key`,
          hitRate,
          HIT_RATE,
          hitRate === undefined ? '-' : formatShare(hitRate),
        ),
      ),
    ]
    return [
      h('h2', { key: 'attention' }, 'Needs attention'),
      attention.length === 0
        ? h('p', { class: 'good', key: 'well' }, 'Nothing.')
        : h(
            'ul',
            { class: 'attention', key: 'list' },
            ...attention.map(({ page, severity, text }: any) =>
              h(
                'li',
                { key: text },
                h('span', { class: severity }, `${severity}: `),
                `${text} `,
                h(
                  'a',
                  { href: `#/${page}` },
                  'Look closer',
                  h('span', { class: 'faint' }, ` (${page})`),
                ),
              ),
            ),
          ),
      h('ul', { class: 'cards', key: 'cards' }, ...cards, ...gauges),
      ...(services.length === 0 ? [] : [serviceTable(services, data.now)]),
      table(
        'Counted in the last whole minute',
        ['Mount', 'Kind', 'Outcome', 'In the minute', 'A second'],
        counts.slice(0, 50).map(({ count, kind, name, outcome }: any) => ({
          key: `${kind} ${name} ${outcome}`,
          cells: [name, kind, outcome, count, (count / 60).toFixed(1)],
        })),
      ),
    ]
  },
}
