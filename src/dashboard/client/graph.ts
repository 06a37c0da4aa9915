/** Graphs over time, as SVG: lines and marks, and the same in words. */
import { h, type Content } from './elements.ts'

/** What a graph shows. */
export interface GraphOptions {
  readonly label: string
  /** The values, the oldest first. Undefined: a gap. */
  readonly values: readonly (number | undefined)[]
  /** Values at which a line is drawn. */
  readonly marks?: readonly number[]
  /** The highest value of the axis. Default: what the values and marks need. */
  readonly max?: number
  /** What the axis of time covers. */
  readonly span: string
  format(value: number): string
}

const WIDTH = 300
const HEIGHT = 80

/** Describes a graph. */
export function graph({ format, label, marks = [], max, span, values }: GraphOptions): Content {
  const known = values.filter((value) => value !== undefined)
  const highest = max ?? Math.max(...known, ...marks, 0) * 1.1
  const scale = highest > 0 ? highest : 1
  const y = (value: number): string =>
    (HEIGHT - (Math.min(value, scale) / scale) * HEIGHT).toFixed(1)
  const step = WIDTH / Math.max(1, values.length - 1)
  const path = values
    .map((value, i) => {
      if (value === undefined) return ''
      const isFirst = values[i - 1] === undefined
      // A value between gaps is a point.
      const point = isFirst && values[i + 1] === undefined ? 'h1' : ''
      return `${isFirst ? 'M' : 'L'}${(i * step).toFixed(1)} ${y(value)}${point}`
    })
    .join('')
  const last = known.at(-1)
  const shown = last === undefined ? '-' : format(last)
  const marked = marks.length > 0 ? `, marks at ${marks.map(format).join(' and ')}` : ''
  const range =
    last === undefined ? '' : `, ${format(Math.min(...known))} to ${format(Math.max(...known))}`
  return h(
    'li',
    { key: `graph ${label}`, class: 'graph' },
    label,
    h('b', {}, shown),
    h(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-label': `${label}, ${span}: now ${shown}${range}${marked}`,
      },
      ...marks.map((mark) => h('path', { class: 'mark', d: `M0 ${y(mark)}H${WIDTH}` })),
      h('path', { class: 'line', d: path === '' ? 'M0 0' : path }),
    ),
    h('small', { class: 'faint' }, `${span}${marked}`),
  )
}
