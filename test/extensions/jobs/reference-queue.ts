/** What both engines must do, as plainly as it can be said: no clock, one list of jobs. */
import type { JobPriority, JobState } from '../../../src/jobs.ts'

/** What the handler of a job does. */
export type Fate = 'ok' | 'bad' | 'fatal'

export interface ReferenceJob {
  readonly id: string
  readonly priority: JobPriority
  readonly fate: Fate
  readonly isDelayed: boolean
  readonly maxAttempts: number
  readonly children: readonly string[]
  parent?: string | undefined
}

interface Entry extends ReferenceJob {
  state: JobState
  attempts: number
  result: unknown
  reason: string | undefined
  pending: Set<string>
  /** Place in the order in which waiting jobs of one priority run. */
  turn: number
}

const URGENCY: readonly JobPriority[] = ['high', 'normal', 'low']

export class ReferenceQueue {
  readonly #jobs = new Map<string, Entry>()
  readonly #maxJobs: number
  readonly #failed: string[] = []
  #turn = 0

  constructor(maxJobs: number) {
    this.#maxJobs = maxJobs
  }

  /** Adds jobs together. A parent comes before its children. */
  add(jobs: readonly ReferenceJob[]): 'added' | 'full' {
    const added = jobs.filter(({ id }) => !this.#jobs.has(id))
    const unfinished = [...this.#jobs.values()].filter(
      ({ state }) => state !== 'completed' && state !== 'failed',
    )
    // A batch counts with the jobs that the queue has already, unless it has all of them.
    if (added.length > 0 && unfinished.length + jobs.length > this.#maxJobs) return 'full'
    for (const job of added) {
      const pending = new Set(job.children)
      const state = pending.size > 0 ? 'waiting-children' : job.isDelayed ? 'delayed' : 'waiting'
      const turn = this.#turn++
      this.#jobs.set(job.id, {
        ...job,
        state,
        turn,
        pending,
        attempts: 0,
        result: undefined,
        reason: undefined,
      })
    }
    return 'added'
  }

  get(id: string): object | undefined {
    const job = this.#jobs.get(id)
    return (
      job && { state: job.state, attempts: job.attempts, result: job.result, reason: job.reason }
    )
  }

  remove(id: string): 'removed' | 'missing' {
    const job = this.#jobs.get(id)
    if (job === undefined) return 'missing'
    this.#jobs.delete(id)
    this.#forget(id)
    for (const child of job.children) this.remove(child)
    this.#childEnded(job)
    return 'removed'
  }

  retry(id: string): boolean {
    const job = this.#jobs.get(id)
    if (job?.state !== 'failed') return false
    this.#forget(id)
    Object.assign(job, { state: 'waiting', attempts: 0, reason: undefined, turn: this.#turn++ })
    return true
  }

  failed(): string[] {
    return this.#failed.toReversed()
  }

  counts(): Record<string, number> {
    const all = [...this.#jobs.values()]
    const count = (state: JobState): number => all.filter((job) => job.state === state).length
    const urgent = (priority: JobPriority): number =>
      all.filter((job) => job.state === 'waiting' && job.priority === priority).length
    return {
      waiting: count('waiting'),
      delayed: count('delayed'),
      active: 0,
      waitingChildren: count('waiting-children'),
      completed: count('completed'),
      failed: count('failed'),
      high: urgent('high'),
      normal: urgent('normal'),
      low: urgent('low'),
    }
  }

  /** Runs all that waits, one at a time. Returns the IDs of what ran, without parents of flows. */
  drain(): string[] {
    const order: string[] = []
    for (;;) {
      const [job] = [...this.#jobs.values()]
        .filter(({ state }) => state === 'waiting')
        .toSorted(
          (a, b) => URGENCY.indexOf(a.priority) - URGENCY.indexOf(b.priority) || a.turn - b.turn,
        )
      if (job === undefined) return order
      if (job.children.length === 0) order.push(job.id)
      this.#run(job)
    }
  }

  #run(job: Entry): void {
    job.attempts++
    if (job.fate === 'ok') {
      job.state = 'completed'
      job.reason = undefined
      job.result = `${job.id} is done`
      return this.#childEnded(job)
    }
    job.reason = job.fate
    if (job.fate === 'bad' && job.attempts < job.maxAttempts) {
      job.state = 'delayed'
      return
    }
    this.#fail(job)
  }

  #fail(job: Entry): void {
    job.state = 'failed'
    this.#failed.push(job.id)
    const parent = this.#jobs.get(job.parent ?? '')
    if (parent?.state !== 'waiting-children') return
    parent.reason = 'a child failed'
    this.#fail(parent)
  }

  #childEnded({ id, parent: parentId = '' }: Entry): void {
    const parent = this.#jobs.get(parentId)
    if (parent?.state !== 'waiting-children') return
    parent.pending.delete(id)
    if (parent.pending.size > 0) return
    parent.state = 'waiting'
    parent.turn = this.#turn++
  }

  #forget(id: string): void {
    const i = this.#failed.indexOf(id)
    if (i >= 0) this.#failed.splice(i, 1)
  }
}
