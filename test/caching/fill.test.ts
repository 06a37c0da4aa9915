import { describe, expect, test } from 'vitest'
import { decideFill, type FillDecision, type FillSituation } from '../../src/caching/fill.ts'
import { LEASE_STATES } from '../../src/caching/entry-keys.ts'

const situation = (more: Partial<FillSituation>): FillSituation => ({
  entry: 'unusable',
  lease: 'none',
  hasFlight: false,
  mayWait: true,
  backsOff: false,
  ...more,
})

/** Every situation in which the entry has this state. */
const all = (entry: FillSituation['entry']): FillSituation[] =>
  LEASE_STATES.flatMap((lease) =>
    [true, false].flatMap((hasFlight) =>
      [true, false].flatMap((mayWait) =>
        [true, false].map((backsOff) => ({ entry, lease, hasFlight, mayWait, backsOff })),
      ),
    ),
  )

describe('who fills an entry', () => {
  test('a fresh entry is served, whatever else is known', () => {
    for (const each of all('fresh')) expect(decideFill(each)).toBe('serve')
  })

  test('a stale entry is always served, and refreshed by one request only', () => {
    for (const each of all('stale')) expect(['serve', 'refresh']).toContain(decideFill(each))
    expect(decideFill(situation({ entry: 'stale', lease: 'ours' }))).toBe('refresh')
    expect(decideFill(situation({ entry: 'stale', lease: 'theirs' }))).toBe('serve')
    expect(decideFill(situation({ entry: 'stale', lease: 'none', hasFlight: true }))).toBe('serve')
  })

  test('a flight that has outlived its lease may hang, and does not stop the next refresh', () => {
    const each = situation({ entry: 'stale', lease: 'ours', hasFlight: true })
    expect(decideFill(each)).toBe('refresh')
  })

  test('after a refresh that failed, a stale entry is served without another one', () => {
    for (const entry of ['stale', 'error-only'] as const)
      for (const each of all(entry)) if (each.backsOff) expect(decideFill(each)).toBe('serve')
  })

  test('an entry that must not be served is never served', () => {
    for (const each of all('unusable')) expect(['join', 'wait', 'fill']).toContain(decideFill(each))
    for (const each of all('error-only'))
      if (!each.backsOff) expect(['join', 'wait', 'fill']).toContain(decideFill(each))
  })

  test('a request that may not wait fills', () => {
    for (const each of all('unusable')) if (!each.mayWait) expect(decideFill(each)).toBe('fill')
  })

  const rows: [lease: FillSituation['lease'], hasFlight: boolean, decision: FillDecision][] = [
    ['none', false, 'fill'],
    ['ours', false, 'fill'],
    ['paused', false, 'fill'],
    ['theirs', false, 'wait'],
    ['none', true, 'join'],
    ['theirs', true, 'join'],
    ['paused', true, 'join'],
    // Another request of this process waits for the lease that this one has: it fills for both.
    ['ours', true, 'fill'],
  ]
  test.each(rows)(
    'without an entry, with the lease %s, a fill here: %s: %s',
    (lease, hasFlight, decision) => {
      expect(decideFill(situation({ lease, hasFlight }))).toBe(decision)
    },
  )
})
