/**
 * docs/metrics.md and the files beside it are what the table of metrics says. After a change of the
 * table: npx vitest run test/operations/metric-files.test.ts --update
 */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { METRICS } from '../../src/operations/metrics/catalogue.ts'
import { METRIC_PREFIX } from '../../src/operations/metrics/snapshot.ts'
import { THRESHOLDS } from '../../src/operations/thresholds.ts'
import { alertingRules, dashboard, metricTable } from '../support/metric-files.ts'

const docs = new URL('../../docs/', import.meta.url)
const START = '<!-- generated -->\n'
const END = '\n<!-- end of generated -->'

it('docs/metrics.md lists every metric', async () => {
  const page = readFileSync(new URL('metrics.md', docs), 'utf8')
  const [before = '', rest = ''] = page.split(START)
  const [, after = ''] = rest.split(END)
  const expected = `${before}${START}${metricTable()}${END}${after}`
  await expect(expected).toMatchFileSnapshot('../../docs/metrics.md')
})

it('what to do leads to pages and headings that exist', () => {
  let count = 0
  for (const [name, { help, remedy = '' }] of Object.entries(METRICS)) {
    const text = `${help} ${remedy}`
    for (const [, file, heading] of text.matchAll(/docs\/([\w-]+\.md)(?:, "([^"]+)")?/g)) {
      const page = readFileSync(new URL(file!, docs), 'utf8')
      if (heading !== undefined) expect(page, name).toContain(`\n## ${heading}\n`)
      count += 1
    }
  }
  expect(count).toBeGreaterThan(5)
})

it('the dashboard has a panel for every metric', async () => {
  const { panels } = JSON.parse(dashboard()) as { panels: { title: string }[] }
  expect(panels.map(({ title }) => title)).toEqual(
    Object.keys(METRICS).map((name) => `${METRIC_PREFIX}${name}`),
  )
  await expect(dashboard()).toMatchFileSnapshot('../../docs/metrics/dashboard.json')
})

it('the alerting rules use metrics and labels that exist', async () => {
  const rules = alertingRules()
  const used = [...rules.matchAll(/turnpike_([a-z_]+?)(?:_bucket)?(?:\{(\w+)|\[| )/g)]
  expect(used.length).toBeGreaterThan(5)
  for (const [, name, label] of used) {
    const metric = METRICS[name as keyof typeof METRICS]
    expect(metric, name).toBeDefined()
    if (label !== undefined) expect(metric.labels).toContain(label)
  }
  await expect(rules).toMatchFileSnapshot('../../docs/metrics/alerts.yml')
  // A mark that a rule and doctor do not share is one that only one of them is told of when it changes.
  const marks = [...rules.matchAll(/ (?:==|>|<) ([\d.]+)'/g)].map(([, mark]) => Number(mark))
  const shared = Object.values(THRESHOLDS).flatMap(({ critical, unit, warn }) =>
    [warn, critical ?? warn].map((mark) => (unit === 'ms' ? mark / 1000 : mark)),
  )
  expect(marks.length).toBe(rules.split('- alert:').length - 1)
  for (const mark of marks) expect([0, ...shared]).toContain(mark)
})
