/** Tables of what was measured. */
import { fixed, print } from './table.mjs'

const THROUGHPUT = [
  'variant',
  'requests/s',
  'x bare',
  'CPU us',
  'x bare',
  'least',
  'p50 ms',
  'p99 ms',
  'busy',
  'without Redis',
]

export function printThroughput(variants, figures, where, { delay, connections }) {
  const bare = figures[variants[0].id]
  const rows = variants.map(({ id, title }) => {
    const { rate, cpu, least, busy, p50, p99, degraded } = figures[id]
    return [
      title,
      fixed(rate, 0),
      fixed(rate / bare.rate, 2),
      fixed(cpu, 1),
      fixed(cpu / bare.cpu, 2),
      fixed(least, 1),
      fixed(p50, 2),
      fixed(p99, 2),
      fixed(busy, 2),
      degraded > 0 ? `${fixed(degraded * 100, 1)} %` : '0',
    ]
  })
  print(
    `### ${where}, ${variants[0].group}, ${connections} connections, ${delay} ms each way to Redis`,
    THROUGHPUT,
    rows,
  )
}

const SERIAL = [
  'variant',
  'commands',
  'trips',
  'trips by latency',
  'run by Redis, scripts included',
]

export function printSerial(variants, figures, where) {
  const rows = variants.map(({ id, title }) => {
    const { commands, trips, slope, calls } = figures[id]
    const ran = calls.map(({ name, calls }) => `${name} ${fixed(calls, 1)}`)
    return [title, fixed(commands, 2), fixed(trips, 2), fixed(slope, 2), ran.join(', ')]
  })
  print(
    `### ${where}, ${variants[0].group}, one request at a time: Redis per request`,
    SERIAL,
    rows,
  )
}

const loadOf = ({ connections, delay }) =>
  `${connections} connections, ${delay} ms each way to Redis`

export function printOpenLoop(variants, figures, where, kind) {
  const measured = variants.filter(({ id }) => figures[id])
  const [{ group }] = variants
  print(
    `### ${where}, ${group}: requests at fixed intervals, ${loadOf(kind)}`,
    ['variant', 'requests/s', 'p50 ms', 'p99 ms', 'CPU us'],
    measured.map(({ id, title }) => {
      const { rate, p50, p99, cpu } = figures[id]
      return [title, fixed(rate, 0), fixed(p50, 2), fixed(p99, 2), fixed(cpu, 1)]
    }),
  )
}

export function printSteady(variants, figures, where, kind) {
  const measured = variants.filter(({ id }) => figures[id])
  if (measured.length === 0) return
  const [{ group }] = variants
  print(
    `### ${where}, ${group}: Redis per request of a process in use, ${loadOf(kind)}`,
    ['variant', 'requests/s', 'commands'],
    measured.map(({ id, title }) => [
      title,
      fixed(figures[id].rate, 0),
      fixed(figures[id].commands, 3),
    ]),
  )
}
