/**
 * An alarm to some hundredths of a millisecond. A timer of the event loop is late by up to a millisecond,
 * and lets all go together that came apart.
 */
import { Worker } from 'node:worker_threads'

/** ms on the clock of alarms. */
export const now = () => Number(process.hrtime.bigint()) / 1e6

export class AlarmClock {
  #state = new Int32Array(new SharedArrayBuffer(16))
  #due = new Float64Array(this.#state.buffer, 8)

  /** @param ring called when it is time, once for each `set` at most */
  constructor(ring) {
    this.#due[0] = Infinity
    const worker = new Worker(new URL('alarm.mjs', import.meta.url), {
      workerData: this.#state.buffer,
    })
    worker.on('message', ring)
  }

  /** Sets the moment at which it rings. @param at Infinity: it does not */
  set(at) {
    this.#due[0] = at
    Atomics.add(this.#state, 0, 1)
    Atomics.notify(this.#state, 0)
  }
}
