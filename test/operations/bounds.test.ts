import { expect, it } from 'vitest'
import { FeatureCounts } from '../../src/feature-counts.ts'
import { RefusalSketch } from '../../src/operations/refusal-sketch.ts'

it('names of limiters that come from requests fill 200 rows, and share one afterwards', () => {
  const counts = new FeatureCounts()
  for (let i = 0; i < 1000; i++) {
    counts.row('limit', `name-${i}`).countDecision(true, false, 'store')
    counts.describe('limiter', `name-${i}`, {})
  }
  const rows = [...counts.rows('limit')]
  expect(rows).toHaveLength(200)
  expect(counts.mounts()).toHaveLength(200)
  expect(rows.find(({ name }) => name === 'other')!.values[0]).toBe(801)
  expect(rows.reduce((sum, { values }) => sum + values[0]!, 0)).toBe(1000)
})

it('a mount that is made again replaces its description, also when there is no room', () => {
  const counts = new FeatureCounts()
  for (let i = 0; i < 300; i++) counts.describe('limiter', `name-${i}`, {})
  counts.describe('limiter', 'name-5', { fail: 'open' })
  expect(counts.mounts().find(({ name }) => name === 'name-5')!.settings).toEqual({
    fail: 'open',
  })
})

it('values that metrics read are at most 200, and one that is made again replaces the earlier one', () => {
  const counts = new FeatureCounts()
  for (let i = 0; i < 300; i++) counts.readFrom('inFlight', `store-${i}`, () => i)
  counts.readFrom('inFlight', 'store-5', () => 1000)
  const values = counts.readValues('inFlight')
  expect(values).toHaveLength(200)
  expect(values.find(({ name }) => name === 'store-5')!.read()).toBe(1000)
  expect(counts.readValues('nearBytes')).toEqual([])
})

const refused = (subject: string) => ({ limit: 'api', policy: 'p', subject, tenant: undefined })

it('a flood of subjects that are refused once does not hide one that is refused often', () => {
  const sketch = new RefusalSketch()
  for (let i = 0; i < 100_000; i++) {
    sketch.add(refused(`random-${i}`))
    if (i % 100 === 0) sketch.add(refused('often'))
  }
  const taken = sketch.take()
  expect(taken).toHaveLength(256)
  // It is counted from when it has a place of its own. The sketch never counts too few.
  expect(taken.find(({ subject }) => subject === 'often')!.count).toBeGreaterThanOrEqual(1000)
  expect(sketch.take()).toEqual([])
})

it('subjects of other tenants, limits and lists are different subjects', () => {
  const sketch = new RefusalSketch()
  sketch.add(refused('a'))
  sketch.add({ ...refused('a'), tenant: 'acme' })
  sketch.add({ ...refused('a'), limit: 'other' })
  sketch.add({ ...refused('a'), subject: ['a'] })
  expect(sketch.take().map(({ count }) => count)).toEqual([1, 1, 1, 1])
})
