/** What a process counts of its features. A count is one addition to an array: nothing is allocated. */

/** What is counted. */
export type CountedKind =
  | 'limit'
  | 'refusal'
  | 'ban'
  | 'session'
  | 'sessionLoad'
  | 'sessionSave'
  | 'cache'
  | 'fill'
  | 'data'
  | 'invalidation'
  | 'idempotency'
  | 'lease'
  | 'held'
  | 'job'
  | 'jobBacklog'

/** Who may decide on a request, as the event `decision` names it. */
const SOURCES = [
  'store',
  'local',
  'lease',
  'deny-cache',
  'open',
  'closed',
  'unlimited',
  'rule',
] as const
/** A decision on a request. `shadow`: a shadow limit let pass what it would have refused. */
const DECISIONS = ['allowed', 'refused', 'shadow'] as const

/** The outcomes of each kind: the types of its event, for limits `<decision>:<source>`. */
export const COUNTED: Readonly<Record<CountedKind, readonly string[]>> = {
  limit: SOURCES.flatMap((source) => DECISIONS.map((decision) => `${decision}:${source}`)),
  // A row for each policy: `<limit>\n<policy>`.
  refusal: ['refused'],
  // `shadow`: a client that was not banned, because there were too many bans or rules.
  ban: ['banned', 'shadow'],
  sessionLoad: ['found', 'near', 'absent', 'failed'],
  sessionSave: ['saved', 'dropped', 'failed'],
  session: ['login', 'logout', 'merged', 'dropped', 'corrupt', 'two-cookies', 'reserved-name'],
  cache: ['hit', 'near', 'stale', 'collapsed', 'miss', 'bypass'],
  // The cache names its reasons.
  fill: ['stored'],
  data: ['hit', 'near', 'stale', 'collapsed', 'miss'],
  // A row for each mode.
  invalidation: ['written', 'failed'],
  idempotency: [
    'first',
    'recovered',
    'replayed',
    'running',
    'mismatch',
    'interrupted',
    'stored',
    'released',
    'pending',
    'unstored',
    'lost',
  ],
  lease: ['acquired', 'refused', 'lost'],
  // Not a count: how many leases are held.
  held: ['held'],
  // A row for each task: `<queue>\n<task>`.
  job: ['added', 'started', 'completed', 'retrying', 'failed', 'stalled'],
  // No counts: what `health()` of a queue saw last.
  jobBacklog: ['backlog', 'oldestMs'],
}

const INDEX_OF_SOURCE = Object.fromEntries(
  SOURCES.map((source, i) => [source, i * DECISIONS.length]),
) as Record<(typeof SOURCES)[number], number>

/** Counts of one mount by outcome. Those of the kind `lease` are of one feature, because names of locks may come from requests. */
export class CounterRow {
  readonly kind: CountedKind
  readonly name: string
  readonly outcomes: readonly string[]
  /** One count for each of `outcomes`. */
  readonly values: Float64Array

  constructor(kind: CountedKind, name: string, outcomes: readonly string[]) {
    this.kind = kind
    this.name = name
    this.outcomes = outcomes
    this.values = new Float64Array(this.outcomes.length)
  }

  /** Counts an outcome. One that the kind does not have is ignored. */
  count(outcome: string): void {
    const i = this.outcomes.indexOf(outcome)
    if (i >= 0) this.values[i]!++
  }

  /** Counts a decision of a row of the kind `limit`. */
  countDecision(allowed: boolean, shadow: boolean, source: (typeof SOURCES)[number]): void {
    this.values[INDEX_OF_SOURCE[source] + (allowed ? 0 : shadow ? 2 : 1)]!++
  }
}

/**
 * What is measured: the time of handlers, of attempts at jobs, of waiting for leases and of holding them, of calls to a
 * store, and of requests that wait for such calls.
 */
export type MeasuredKind = 'fill' | 'job' | 'leaseWait' | 'leaseHold' | 'operation' | 'storeWait'

/**
 * What is read when metrics are: the near cache's size and evictions, calls in progress, and whether
 * services work.
 */
export type ReadKind =
  | 'nearBytes'
  | 'nearEntries'
  | 'nearEvictions'
  | 'inFlight'
  | 'maintenance'
  | 'serviceUp'

/** A value that is read when metrics are. */
export interface ReadValue {
  readonly kind: ReadKind
  readonly name: string
  read(): number
}

/** Upper bounds of the buckets of durations, in ms. */
export const BUCKETS_MS: readonly number[] = [
  0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
]

/** Durations of one thing, by size. */
export class DurationHistogram {
  readonly kind: MeasuredKind
  readonly name: string
  /** One count for each of `BUCKETS_MS`, one for longer durations, and the sum of all in ms. */
  readonly values: Float64Array = new Float64Array(BUCKETS_MS.length + 2)

  constructor(kind: MeasuredKind, name: string) {
    this.kind = kind
    this.name = name
  }

  add(ms: number): void {
    let i = 0
    while (i < BUCKETS_MS.length && ms > BUCKETS_MS[i]!) i++
    this.values[i]!++
    this.values[BUCKETS_MS.length + 1]! += ms
  }
}

/** Who was refused, as the event `decision` says it. */
export interface RefusedSubject {
  readonly limit: string
  readonly policy: string
  readonly subject: string | readonly string[]
  readonly tenant: string | undefined
}

/** Largest number of rows of a kind. Names of limiters may come from requests, and must not fill the memory. */
const MAX_ROWS = 200
/** Name of the row that all further names share. */
const OTHER = 'other'

/** What is mounted, for people who operate the application. */
export interface MountDescription {
  /** The method that made it: `rateLimit`, `cache`. */
  readonly kind: string
  readonly name: string
  /** Settings that are no secrets. A function is `null`. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** The counts of an instance, and what it has mounted. */
export class FeatureCounts {
  readonly #rows = new Map<CountedKind, Map<string, CounterRow>>()
  readonly #durations = new Map<MeasuredKind, Map<string, DurationHistogram>>()
  readonly #mounts = new Map<string, MountDescription>()
  readonly #readValues = new Map<string, ReadValue>()

  /** Called with each subject that a limit refuses, if anything wants to know. */
  onRefused: ((refused: RefusedSubject) => void) | undefined

  /** Called when a policy refuses for the first time. */
  onFirstRefusal: (() => void) | undefined

  /** Returns the row of a name, always the same one. */
  row(kind: CountedKind, name: string, outcomes: readonly string[] = COUNTED[kind]): CounterRow {
    // Most calls end here. They allocate nothing.
    const known = this.#rows.get(kind)?.get(name)
    if (known) return known
    const rows = this.#rows.get(kind) ?? new Map<string, CounterRow>()
    this.#rows.set(kind, rows)
    if (kind === 'refusal') this.onFirstRefusal?.()
    return named(rows, name, (each) => new CounterRow(kind, each, outcomes))
  }

  /** Returns the durations of a name, always the same ones. */
  durations(kind: MeasuredKind, name: string): DurationHistogram {
    const known = this.#durations.get(kind)?.get(name)
    if (known) return known
    const histograms = this.#durations.get(kind) ?? new Map<string, DurationHistogram>()
    this.#durations.set(kind, histograms)
    return named(histograms, name, (each) => new DurationHistogram(kind, each))
  }

  /** Returns all durations of a kind. */
  histograms(kind: MeasuredKind): Iterable<DurationHistogram> {
    return this.#durations.get(kind)?.values() ?? []
  }

  /** Returns all rows, or those of a kind. */
  *rows(kind?: CountedKind): Generator<CounterRow> {
    for (const [each, rows] of this.#rows) {
      if (kind === undefined || kind === each) yield* rows.values()
    }
  }

  /** Notes how a value is read. One of the same kind and name takes the place of the earlier one. */
  readFrom(kind: ReadKind, name: string, read: () => number): void {
    const id = `${kind}\n${name}`
    if (this.#readValues.size < MAX_ROWS || this.#readValues.has(id))
      this.#readValues.set(id, { kind, name, read })
  }

  /** Returns the values of a kind that can be read. */
  readValues(kind: ReadKind): ReadValue[] {
    return [...this.#readValues.values()].filter((value) => value.kind === kind)
  }

  /** Notes a mount. One of the same kind and name takes the place of the earlier one. */
  describe(kind: string, name: string, settings: Readonly<Record<string, unknown>>): void {
    const id = `${kind}\n${name}`
    if (this.#mounts.size < MAX_ROWS || this.#mounts.has(id))
      this.#mounts.set(id, { kind, name, settings })
  }

  /** Returns what is mounted, in the order of kinds and names. */
  mounts(): MountDescription[] {
    return [...this.#mounts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, description]) => description)
  }
}

/** Returns what belongs to a name, and creates it while there is room. */
function named<Value>(
  known: Map<string, Value>,
  name: string,
  create: (name: string) => Value,
): Value {
  const found = known.get(name)
  if (found !== undefined) return found
  if (known.size >= MAX_ROWS - 1 && name !== OTHER) return named(known, OTHER, create)
  const created = create(name)
  known.set(name, created)
  return created
}
