/** Metrics as text: Prometheus's format 0.0.4, and OpenMetrics 1.0. */
import type { HistogramSample, MetricFamily, MetricLabels } from './snapshot.ts'

/** Media types of the formats. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
export const OPENMETRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

/** Returns metrics as text. @param isOpenMetrics in place of Prometheus's format */
export function metricsText(families: readonly MetricFamily[], isOpenMetrics = false): string {
  const lines: string[] = []
  for (const family of families) {
    const { name, help, type } = family
    // In OpenMetrics `_total` belongs to the sample and not to the family.
    const title = isOpenMetrics && type === 'counter' ? name.replace(/_total$/, '') : name
    lines.push(`# HELP ${title} ${escapeHelp(help)}`, `# TYPE ${title} ${type}`)
    if (family.type === 'histogram') {
      for (const sample of family.samples) lines.push(...histogramLines(name, sample))
    } else {
      for (const { labels, value } of family.samples)
        lines.push(`${name}${labelText(labels)} ${value}`)
    }
  }
  if (isOpenMetrics) lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function* histogramLines(
  name: string,
  { labels, bounds, counts, sum }: HistogramSample,
): Generator<string> {
  let count = 0
  for (const [i, bound] of [...bounds, Infinity].entries()) {
    count += counts[i]!
    const le = bound === Infinity ? '+Inf' : String(bound)
    yield `${name}_bucket${labelText({ ...labels, le })} ${count}`
  }
  yield `${name}_sum${labelText(labels)} ${sum}`
  yield `${name}_count${labelText(labels)} ${count}`
}

function labelText(labels: MetricLabels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return parts.length > 0 ? `{${parts.join(',')}}` : ''
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')

const escapeLabel = (value: string): string => escapeHelp(value).replaceAll('"', '\\"')
