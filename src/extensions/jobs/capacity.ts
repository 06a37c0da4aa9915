/** The bound of a queue: what it refuses when it is full, and how the number of its jobs is known. */
import { TurnpikeError } from '../../errors.ts'

/** Most schedules of a queue. */
export const MAX_SCHEDULES = 10_000

/** When a client that a full queue refuses may try again, in ms. */
export const FULL_RETRY = 5000

/** Returns the error for jobs that a full queue refuses. */
export const queueFull = (queue: string, maxJobs: number): TurnpikeError =>
  new TurnpikeError(
    'TP_QUEUE_FULL',
    `The queue '${queue}' is full: it has maxJobs (${maxJobs}) unfinished jobs. Start more workers, or raise maxJobs.`,
    { status: 503, headers: { 'Retry-After': String(FULL_RETRY / 1000) } },
  )

/** Returns the error for a schedule that a full queue refuses. */
export const schedulesFull = (queue: string): TurnpikeError =>
  new TurnpikeError(
    'TP_QUEUE_FULL',
    `The queue '${queue}' has ${MAX_SCHEDULES} schedules, which is the most. Remove those that are not needed.`,
    { status: 503 },
  )

/**
 * Estimates the number of unfinished jobs in Redis. It is counted after each hundredth part of the bound
 * that this process adds, in the same turn as an addition. So most additions are one call, and a
 * process exceeds the bound by a hundredth at most.
 */
export class JobCapacity {
  readonly #max: number
  readonly #countEvery: number
  /** What Redis counted last. */
  #counted: number | undefined
  /** What this process has added since the count was requested. */
  #added = 0
  #counting: Promise<void> | undefined

  constructor(maxJobs: number) {
    this.#max = maxJobs
    this.#countEvery = Math.max(1, Math.floor(maxJobs / 100))
  }

  /**
   * Takes room for new jobs. Resolves with false if there is none.
   * @param count asks Redis for the number of unfinished jobs
   */
  async take(jobs: number, count: () => Promise<number>): Promise<boolean> {
    if (!this.#hasRoom(jobs)) {
      // An estimate refuses nothing: workers may have finished jobs since. Neither does a count that is
      // on its way: it may contain jobs that were added after it was requested, which would count twice.
      await this.#counting?.catch(() => {})
      await this.#count(count)
      if (!this.#hasRoom(jobs)) return false
    } else if (this.#counted === undefined || this.#added >= this.#countEvery)
      this.#count(count).catch(() => {})
    this.#added += jobs
    return true
  }

  /** Notes a job that is unfinished again. */
  noteRetried(): void {
    this.#added++
  }

  #hasRoom(jobs: number): boolean {
    return (this.#counted ?? 0) + this.#added + jobs <= this.#max
  }

  #count(count: () => Promise<number>): Promise<void> {
    this.#counting ??= (async () => {
      const before = this.#added
      try {
        this.#counted = await count()
        this.#added -= before
      } finally {
        this.#counting = undefined
      }
    })()
    return this.#counting
  }
}
