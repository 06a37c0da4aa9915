/** Tells listeners that something of a job has changed, whichever process changed it. */
import type { QueueEvents } from 'bullmq'
import type { DedicatedConnection } from '../../extension.ts'
import { loadBullmq, type BullmqConnection } from './bullmq-connection.ts'

const EVENTS = [
  'active',
  'completed',
  'delayed',
  'failed',
  'progress',
  'removed',
  'stalled',
  'waiting',
  'waiting-children',
] as const

/** How far the subscription looks back, in ms. What happens while it is opened must not be missed. */
const LOOK_BACK = 10_000
/** How long the subscription may take to end, in ms. */
const CLOSE_TIMEOUT = 500

/** One subscription of this process to the queue's stream of events. It is opened with the first listener. */
export class JobChanges {
  readonly #connection: BullmqConnection
  readonly #now: () => number
  readonly #listeners = new Map<string, Set<() => void>>()
  #opening: Promise<{ events: QueueEvents; template: DedicatedConnection } | undefined> | undefined

  /** @param now returns the time of Redis */
  constructor(connection: BullmqConnection, now: () => number) {
    this.#connection = connection
    this.#now = now
  }

  /** Calls `onChange` when anything of a job may have changed. */
  watch(id: string, onChange: () => void): () => void {
    const all = this.#listeners.get(id) ?? new Set()
    this.#listeners.set(id, all.add(onChange))
    this.#opening ??= this.#open().catch(() => (this.#opening = undefined))
    return () => {
      all.delete(onChange)
      if (all.size === 0) this.#listeners.delete(id)
    }
  }

  async close(): Promise<void> {
    this.#listeners.clear()
    const open = await this.#opening
    if (open === undefined) return
    const closed = open.events.close().catch(() => {})
    // While Redis is away, BullMQ waits for the end of a connection that there is not.
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT))])
    await open.template.end()
  }

  async #open(): Promise<{ events: QueueEvents; template: DedicatedConnection }> {
    const { QueueEvents } = await loadBullmq()
    const template = await this.#connection.openBlocking()
    const events = new QueueEvents(this.#connection.name, {
      ...this.#connection.optionsFor(template),
      lastEventId: `${Math.floor(this.#now()) - LOOK_BACK}-0`,
    })
    // It reconnects by itself. A reader of a job asks for its state from time to time, too.
    events.on('error', () => {})
    for (const name of EVENTS)
      events.on(name as 'active', ({ jobId }) => {
        for (const listener of this.#listeners.get(jobId) ?? []) listener()
      })
    return { events, template }
  }
}
