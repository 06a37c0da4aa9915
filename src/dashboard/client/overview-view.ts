/** The first page. */
import { formatBytes, formatShare } from '../../commands/format.ts'
import { THRESHOLDS, type Threshold } from '../../operations/thresholds.ts'
import { graph } from './graph.ts'
import { h, table, type Content } from './elements.ts'
import { ago, type View } from './context.ts'

/** Returns how a gauge marks a share. */
function marksOf({ bad, critical, good, warn }: Threshold): object {
  const [low, high] = [Math.min(warn, critical ?? warn), Math.max(warn, critical ?? good ?? warn)]
  return { low, high, optimum: bad === 'above' ? 0 : 1 }
}
const HIT_RATE = marksOf(THRESHOLDS.hitRate)
const MEMORY = marksOf(THRESHOLDS.memory)

/** What one reading says of the moment. */
interface Sample {
  readonly at: number
  readonly p99: number | undefined
  /** Share of the memory that is in use, by server. */
  readonly memory: Readonly<Record<string, number>>
}

/** Readings of ten minutes. */
const MAX_SAMPLES = 200
/** Redis keeps no history of these values: they are drawn from the time on when the page was opened. */
const samples: Sample[] = []

function take({ now, servers = [], storeP99 }: any): void {
  if (now === undefined || samples.at(-1)?.at === now) return
  const memory = Object.fromEntries(
    servers.flatMap(({ address, maxMemory, memory: used }: any) =>
      maxMemory ? [[address, used / maxMemory]] : [],
    ),
  )
  samples.push({ at: now, p99: storeP99, memory })
  if (samples.length > MAX_SAMPLES) samples.shift()
}

function graphs({ minutes = [] }: any): Content {
  const span = 'last half hour'
  const own = 'since this page was opened, at most ten minutes'
  const rate = (count: number): string => `${count.toFixed(1)}/s`
  const { warn, good } = THRESHOLDS.hitRate
  const { memory, slowCall } = THRESHOLDS
  const servers = new Set(samples.flatMap((sample) => Object.keys(sample.memory)))
  return h(
    'ul',
    { class: 'cards', key: 'graphs', 'aria-label': 'Over time' },
    graph({
      label: 'Answered from caches',
      values: minutes.map(({ answered, asked }: any) => (asked > 0 ? answered / asked : undefined)),
      marks: [warn, good!],
      max: 1,
      span,
      format: formatShare,
    }),
    graph({
      label: 'Requests to caches',
      values: minutes.map(({ asked }: any) => asked / 60),
      span,
      format: rate,
    }),
    graph({
      label: 'Refused by limits',
      values: minutes.map(({ refused }: any) => refused / 60),
      span,
      format: rate,
    }),
    graph({
      label: 'Redis p99',
      values: samples.map(({ p99 }) => p99),
      marks: [slowCall.warn],
      span: own,
      format: (ms) => `${ms.toFixed(1)} ms`,
    }),
    ...Array.from(servers, (address) =>
      graph({
        label: `Memory of ${address}`,
        values: samples.map((sample) => sample.memory[address]),
        marks: [memory.warn, memory.critical!],
        max: 1,
        span: own,
        format: formatShare,
      }),
    ),
  )
}

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
    take(data)
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
      h('h2', { key: 'time' }, 'Over time'),
      graphs(data),
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
