/** Processes that lease units of one subject, over one store, on clocks that a seed turns. */
import { EventBus } from '../../../../src/events.ts'
import { StoreUnavailable } from '../../../../src/errors.ts'
import type { ExtensionContext } from '../../../../src/extension.ts'
import type { Charge } from '../../../../src/features/rate-limit/charge.ts'
import { engineOptions } from '../../../../src/features/rate-limit/engine-options.ts'
import { RateLimitEngine } from '../../../../src/features/rate-limit/engine.ts'
import { withLease } from '../../../../src/features/rate-limit/lease-options.ts'
import type { LimitDecision } from '../../../../src/features/rate-limit/limit-decision.ts'
import type { RateLimitOptions } from '../../../../src/features/rate-limit/options.ts'
import { policiesOf } from '../../../../src/features/rate-limit/policy.ts'
import { createKeySpace } from '../../../../src/store/keys.ts'
import { MemoryStore } from '../../../../src/store/memory.ts'
import type { Operation, OperationArgument, Store } from '../../../../src/store/store.ts'

/** Returns numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A decision: when it was made, and by which clock does not matter, there is one true time. */
export interface Use {
  /** In ms, as Redis counts them. */
  readonly time: number
  readonly cost: number
  readonly isLeased: boolean
}

export interface Outcome {
  admitted: Use[]
  refused: Use[]
  calls: number
  decisions: number
}

interface Call {
  operation: Operation<any>
  keys: readonly string[]
  args: readonly OperationArgument[]
  resolve(reply: any): void
  reject(error: unknown): void
  reply?: unknown
  isExecuted: boolean
}

export type Pace = number | 'bursts'

export interface Setup {
  options: RateLimitOptions<never>
  seed: number
  processes: number
  steps: number
  /** Greatest cost of a request. */
  maxCost: number
  /** Time between two steps, in ms, on average. In bursts the processes get leases, wait, and use all at once. */
  pace: Pace
  /**
   * Processes die, replies are lost, processes stop for longer than a lease, machines are suspended and
   * their clocks are set, some uses are given back.
   */
  hasFaults: boolean
}

/** Steps of a burst with those before it, and the steps in which the leases are granted. */
const ROUND = 400
const GATHERED = 100
const START = Date.UTC(2026, 0, 1)

/** Lets all promises settle that wait for nothing outside. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function simulate(setup: Setup): Promise<Outcome> {
  const { options, seed, steps, maxCost, pace, hasFaults } = setup
  const next = random(seed)
  let time = START + next() * 10_000
  const redis = new MemoryStore({
    clock: {
      now: () => Math.floor(time),
      monotonic: () => time,
      sleep: () => new Promise(() => {}),
    },
  })
  const outcome: Outcome = { admitted: [], refused: [], calls: 0, decisions: 0 }
  const { name, policies: asked } = policiesOf<never>('simulation', options, 'simulated')
  const policies = withLease('simulation', options.lease, asked, {
    store: { kind: 'redis' } as Store,
  })

  class Process {
    readonly calls: Call[] = []
    readonly engine: RateLimitEngine
    readonly offset = next() * 1e6
    /** Clocks of machines run at speeds that differ by up to 0.1 %. */
    readonly speed = 1 + (next() - 0.5) / 500
    /** The clock that people read may be wrong, and set at any time. */
    wallOffset = (next() - 0.5) * 1e9
    isStopped = false
    /** When its machine was suspended. The monotonic clock stands still until the machine goes on. */
    suspendedAt: number | undefined
    suspendedFor = 0
    sleepers: { until: number; wake: () => void }[] = []

    constructor() {
      const store = {
        kind: 'redis',
        isSplit: false,
        now: () => Math.floor(time) + 12_345,
        monotonic: () => this.monotonic(),
        wallClock: () => time + this.wallOffset,
        sleep: (ms: number) =>
          new Promise<void>((wake) => this.sleepers.push({ until: this.monotonic() + ms, wake })),
        subscribe: () => () => {},
        run: (
          operation: Operation<any>,
          keys: readonly string[],
          args: readonly OperationArgument[],
        ) =>
          new Promise((resolve, reject) => {
            outcome.calls++
            this.calls.push({ operation, keys, args, resolve, reject, isExecuted: false })
          }),
      }
      const context = {
        store,
        keys: createKeySpace('tp'),
        events: new EventBus(''),
        instances: 1,
        onClose() {},
      } as unknown as ExtensionContext
      this.engine = new RateLimitEngine(
        context,
        {
          ...engineOptions('limiter', name, 'simulation', options, policies[0]!.lease),
          fail: 'closed',
        },
        undefined,
      )
    }

    monotonic(): number {
      return this.offset + (time - this.suspendedFor) * this.speed
    }

    stop(): void {
      this.isStopped = true
      if (next() < 0.5) this.suspendedAt = time
    }

    goOn(): void {
      this.isStopped = false
      if (this.suspendedAt !== undefined) this.suspendedFor += time - this.suspendedAt
      this.suspendedAt = undefined
    }

    wake(): void {
      const due = this.sleepers.filter(({ until }) => until <= this.monotonic())
      this.sleepers = this.sleepers.filter(({ until }) => until > this.monotonic())
      for (const { wake } of due) wake()
    }
  }

  const processes = Array.from({ length: setup.processes }, () => new Process())
  const log: (Use & { isBack?: boolean })[] = []

  async function request(process: Process, cost: number): Promise<void> {
    const decidedAt = Math.floor(time)
    const charges = policies.map((policy): Charge => ({
      policy,
      tag: 'subject',
      subject: 'subject',
      tenant: undefined,
      limit: policy.limit!,
      window: policy.window!,
      cost,
    }))
    const decision: LimitDecision = await process.engine.consume(charges)
    if (decision.source === 'closed') return
    outcome.decisions++
    const isLeased = decision.source === 'lease'
    // A process that is dead when the reply comes has admitted nothing.
    if (!processes.includes(process)) return
    const use = { time: isLeased ? decidedAt : decision.at, cost, isLeased }
    if (!decision.allowed) {
      outcome.refused.push({ ...use, time: decision.at })
      return
    }
    const entry: (typeof log)[number] = use
    log.push(entry)
    if (hasFaults && next() < 0.1) {
      entry.isBack = true
      void decision.refund().catch(() => {})
    }
  }

  /** Executes a call in Redis, or delivers its reply. */
  function proceed(process: Process): void {
    const executing = process.calls.find(({ isExecuted }) => !isExecuted)
    const [first] = process.calls
    if (executing && (first === executing || next() < 0.5)) {
      if (hasFaults && next() < 0.02) {
        process.calls.splice(process.calls.indexOf(executing), 1)
        executing.reject(new StoreUnavailable('late', false))
        return
      }
      const { operation, keys, args } = executing
      executing.isExecuted = true
      executing.reply = operation.memory(redis, keys, args, Math.floor(time))
    } else if (first) {
      process.calls.shift()
      if (hasFaults && next() < 0.02) first.reject(new StoreUnavailable('timeout', true))
      else first.resolve(first.reply)
    }
  }

  const { lease, window } = policies[0]!
  /** Moves the time before a step. */
  function wait(step: number): void {
    if (pace !== 'bursts') {
      time += next() < 0.5 ? 0 : -Math.log(1 - next()) * pace
      if (next() < 0.002) time += next() * lease * 3
      if (next() < 0.0005) time += window! * next() * 1.2
      return
    }
    const phase = step % ROUND
    if (phase === 0) time += window! * (0.2 + next())
    // Sometimes a reply is late, by a large part of the lease.
    else if (phase < GATHERED) time += next() * lease * (next() < 0.02 ? 0.4 : 0.5 / GATHERED)
    // Often to the moment at which the last leases end.
    else if (phase === GATHERED) time += lease * (next() < 0.5 ? next() : 0.7 + next() * 0.3)
    else time += next() * 0.03
  }

  for (let step = 0; step < steps; step++) {
    wait(step)
    const at = Math.floor(next() * processes.length)
    const process = processes[at]!
    if (hasFaults && next() < 0.002) {
      processes[at] = new Process()
      continue
    }
    if (hasFaults && !process.isStopped && next() < 0.002) process.stop()
    if (process.isStopped && next() < 0.98) continue
    process.goOn()
    if (hasFaults && next() < 0.002) process.wallOffset += next() < 0.5 ? -1e7 : next() * 1e4
    process.wake()
    const isBurst = pace === 'bursts' && step % ROUND > GATHERED
    if (isBurst || next() < 0.5) void request(process, 1 + Math.floor(next() * maxCost))
    for (let i = 0; i < 4; i++) if (next() < 0.7) proceed(process)
    await settle()
  }
  for (let i = 0; i < 100; i++) {
    for (const process of processes) proceed(process)
    await settle()
  }
  outcome.admitted = log.filter(({ isBack }) => !isBack).toSorted((a, b) => a.time - b.time)
  return outcome
}

/** Returns the most that is admitted within `window` ms. */
export function mostInAnyWindow(uses: readonly Use[], window: number): number {
  let [most, sum, from] = [0, 0, 0]
  for (const { time, cost } of uses) {
    sum += cost
    while (uses[from]!.time <= time - window) sum -= uses[from++]!.cost
    most = Math.max(most, sum)
  }
  return most
}

/** Returns the most that is admitted within one period. */
export function mostInAPeriod(uses: readonly Use[], window: number): number {
  const sums = new Map<number, number>()
  for (const { time, cost } of uses) {
    const period = Math.floor(time / window)
    sums.set(period, (sums.get(period) ?? 0) + cost)
  }
  return Math.max(0, ...sums.values())
}

/** Returns the highest level of the bucket that GCRA equals, in units: what is admitted in any interval, less what drains in it. */
export function highestLevel(uses: readonly Use[], window: number, limit: number): number {
  let [level, highest, from] = [0, 0, 0]
  for (const { time, cost } of uses) {
    level = Math.max(0, level - (time - from) * limit) + cost * window
    highest = Math.max(highest, level)
    from = time
  }
  return highest / window
}

/** Returns the level at `at`, in units. */
export function levelAt(uses: readonly Use[], window: number, limit: number, at: number): number {
  let [level, from] = [0, 0]
  for (const { time, cost } of uses) {
    level = Math.max(0, level - (time - from) * limit) + cost * window
    from = time
  }
  return Math.max(0, level - (at - from) * limit) / window
}
