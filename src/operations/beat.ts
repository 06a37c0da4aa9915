/** The report that a process writes every ten seconds: loaded when the first one is due. */
import { createHash } from 'node:crypto'
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import type { CountedKind, CounterRow, FeatureCounts, RefusedSubject } from '../feature-counts.ts'
import type { ExtensionContext } from '../extension.ts'
import type { StoreStatus } from '../store/store.ts'
import {
  descriptionKey,
  fieldPart,
  minuteKey,
  processesKey,
  processKey,
  refusedKey,
} from './beat-keys.ts'
import { leaveProcesses, writeBeat } from './beat-operations.ts'
import type { OperationsSettings } from './options.ts'
import { RefusalSketch } from './refusal-sketch.ts'
import { SystemSampler, systemCall, writeSystem } from './system-metrics.ts'

/** What a process knows of itself. */
export interface ProcessFacts {
  /** Identifies the instance. It begins with the host and the process ID. */
  readonly id: string
  readonly host: string
  readonly pid: number
  /** When the instance was created, ms since the epoch. */
  readonly since: number
  /** Option `version` of the instance: keys of its features contain it. */
  readonly version: string | number | undefined
  status(): StoreStatus
}

/** Step of the timer by which the delay of the event loop is measured, in ms. */
const RESOLUTION = 100

/** Pause between two samples of the system, in ms. */
const SAMPLE_MS = 60_000

/** Kinds that other counts contain, or that are no counts. */
const UNREPORTED: ReadonlySet<CountedKind> = new Set<CountedKind>(['refusal', 'held', 'jobBacklog'])

/** Writes the reports of one instance. */
export class Beat {
  readonly #context: ExtensionContext
  readonly #facts: ProcessFacts
  readonly #settings: OperationsSettings
  readonly #counts: FeatureCounts
  readonly #refused = new RefusalSketch()
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION })
  readonly #reported = new Map<CounterRow, Float64Array>()
  readonly #rules = new Map<string, number>()
  readonly #unsubscribe: () => void
  readonly #sampler: SystemSampler
  #sampledAt = -Infinity
  #storedDescription: string | undefined
  #hasWritten = false

  /** @param early subjects that were refused before the first report */
  constructor(
    context: ExtensionContext,
    facts: ProcessFacts,
    settings: OperationsSettings,
    early: readonly RefusedSubject[] = [],
  ) {
    this.#context = context
    this.#facts = facts
    this.#settings = settings
    this.#counts = context.events.counts
    this.#sampler = new SystemSampler(this.#counts)
    for (const refused of early) this.#refused.add(refused)
    if (settings.subjects) this.#counts.onRefused = (refused) => this.#refused.add(refused)
    this.#unsubscribe = context.events.on('unavailable', ({ feature, rule }) => {
      const field = `unavailable:${fieldPart(feature)}:${fieldPart(rule)}`
      this.#rules.set(field, (this.#rules.get(field) ?? 0) + 1)
    })
    this.#delay.enable()
  }

  /**
   * Writes a report. Returns the number of live processes.
   * @throws TP_UNAVAILABLE, TP_COMMAND
   */
  async write(): Promise<number> {
    const description = JSON.stringify({
      version: this.#facts.version === undefined ? null : String(this.#facts.version),
      mounts: this.#counts.mounts(),
    })
    const digest = createHash('sha256').update(description).digest('base64url').slice(0, 22)
    const isNew = this.#storedDescription !== digest
    const counts = this.#takeCounts()
    const [known, live] = await this.#send(digest, isNew ? description : '', counts)
    this.#storedDescription = digest
    // It expired, or Redis lost it.
    if (known === 0) await this.#send(digest, description, { counts: [], refused: [] })
    await this.#sample()
    return live
  }

  /** Writes the metrics of the system, once a minute. */
  async #sample(): Promise<void> {
    const { keys, store } = this.#context
    const now = store.monotonic()
    // Reports do not come at the second.
    if (now - this.#sampledAt < SAMPLE_MS - this.#settings.every / 2) return
    this.#sampledAt = now
    await store.run(writeSystem, ...systemCall(keys, this.#facts.id, this.#sampler.sample()))
  }

  /** Removes the process from those that are live. */
  async leave(): Promise<void> {
    this.#unsubscribe()
    this.#counts.onRefused = undefined
    this.#delay.disable()
    if (!this.#hasWritten) return
    const { keys, store } = this.#context
    const { id } = this.#facts
    await store.run(leaveProcesses, [processesKey(keys), processKey(keys, id)], [id])
  }

  async #send(
    digest: string,
    description: string,
    taken: Taken,
  ): Promise<[number, number, number]> {
    const { keys, store } = this.#context
    const { id } = this.#facts
    const fields = this.#fields(digest)
    const now = store.now()
    // A report that fails may have been written all the same.
    this.#hasWritten = true
    return await store.run(
      writeBeat,
      [
        processesKey(keys),
        processKey(keys, id),
        descriptionKey(keys, digest),
        minuteKey(keys, now),
        refusedKey(keys, now),
      ],
      [
        id,
        description,
        fields.length,
        ...fields.flat(),
        taken.counts.length,
        ...taken.counts.flat(),
        taken.refused.length,
        ...taken.refused.flat(),
      ],
    )
  }

  #fields(digest: string): [string, string | number][] {
    const { host, pid, since, status } = this.#facts
    const { every, release = '', service = '' } = this.#settings
    const { breaker, latencyMs, status: state } = status()
    const { store } = this.#context
    const delay = Math.max(0, this.#delay.percentile(99) / 1e6 - RESOLUTION)
    this.#delay.reset()
    return [
      ['host', host],
      ['pid', pid],
      ['service', service],
      ['release', release],
      ['since', since],
      ['node', process.version],
      ['every', every],
      ['rss', process.memoryUsage.rss()],
      ['loopDelayMs', Number.isFinite(delay) ? delay.toFixed(1) : '0'],
      ['redisP50Ms', latencyMs?.p50 ?? ''],
      ['redisP99Ms', latencyMs?.p99 ?? ''],
      ['status', state],
      ['breaker', breaker],
      ['clockSkewMs', Math.round(Date.now() - store.now())],
      ['description', digest],
    ]
  }

  /** Returns what was counted since the last call. If the report is lost, so are these counts. */
  #takeCounts(): Taken {
    const counts: [string, number][] = [...this.#rules]
    this.#rules.clear()
    for (const row of this.#counts.rows())
      if (!UNREPORTED.has(row.kind)) counts.push(...this.#increasesOf(row))
    const refused = this.#refused
      .take()
      .map(({ limit, policy, subject, tenant, count }): [string, number] => {
        const tag = this.#context.keys.tag(subject, tenant, true)
        return [`${fieldPart(limit)} ${fieldPart(policy)} ${tag}`, count]
      })
    return { counts, refused }
  }

  #increasesOf(row: CounterRow): [string, number][] {
    const before = this.#reported.get(row)
    const increases = new Map<string, number>()
    for (const [i, outcome] of row.outcomes.entries()) {
      const increase = row.values[i]! - (before?.[i] ?? 0)
      // Decisions are reported whatever their source.
      const type = row.kind === 'limit' ? outcome.replace(/:.*/, '') : outcome
      if (increase > 0) increases.set(type, (increases.get(type) ?? 0) + increase)
    }
    this.#reported.set(row, row.values.slice())
    const start = `${row.kind}:${fieldPart(row.name)}`
    return [...increases].map(([type, increase]) => [`${start}:${type}`, increase])
  }
}

interface Taken {
  readonly counts: readonly [string, number][]
  readonly refused: readonly [string, number][]
}
