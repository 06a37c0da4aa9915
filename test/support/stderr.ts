import { expect } from 'vitest'

/**
 * Expects that a process wrote nothing to stderr but Node's warnings of it and the lines of outages:
 * one when Redis goes away and one when it is back, in turn.
 * @param end whether Redis was away at the end
 */
export function expectOnlyOutages(stderr: string, end: 'away' | 'back'): void {
  const lines = stderr
    .replaceAll(/.*TurnpikeWarning.*\n|\(Use .*\n/g, '')
    .split('\n')
    .filter((line) => line !== '')
  for (const [i, line] of lines.entries())
    expect(line).toMatch(
      i % 2 === 0
        ? /"name":"turnpike","msg":"Redis is away: /
        : /"msg":"Redis is back after [\d.]+ s\./,
    )
  expect(lines.length % 2).toBe(end === 'away' ? 1 : 0)
}
