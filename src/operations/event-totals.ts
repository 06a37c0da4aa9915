import type { EventBus } from '../events.ts'

/** Number of names of a kind. Those of events come from code. */
const MAX_NAMES = 200

type TotalKind = 'failure' | 'rule' | 'replaced'

/** Counts events that come while something is wrong. */
export class EventTotals {
  readonly #totals = new Map<TotalKind, Map<string, number>>()

  constructor(events: EventBus) {
    events.on('unavailable', ({ feature, reason, rule }) => {
      this.#add('failure', reason)
      this.#add('rule', `${feature}\n${rule}`)
    })
    events.on('replaced', ({ store }) => this.#add('replaced', store))
  }

  /** Returns the totals of a kind. */
  samples<Labels>(
    kind: TotalKind,
    labelsOf: (name: string) => Labels,
  ): { labels: Labels; value: number }[] {
    const totals = this.#totals.get(kind) ?? new Map<string, number>()
    return Array.from(totals, ([name, value]) => ({ labels: labelsOf(name), value }))
  }

  #add(kind: TotalKind, name: string): void {
    const totals = this.#totals.get(kind) ?? new Map<string, number>()
    this.#totals.set(kind, totals)
    const isFull = totals.size >= MAX_NAMES - 1 && !totals.has(name)
    const key = isFull ? 'other' : name
    totals.set(key, (totals.get(key) ?? 0) + 1)
  }
}
