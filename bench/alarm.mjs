/** Wakes its parent when it is time, to some hundredths of a millisecond: see `alarm-clock.mjs`. */
import { parentPort, workerData } from 'node:worker_threads'

const alarm = new Int32Array(workerData)
const due = new Float64Array(workerData, 8)
const now = () => Number(process.hrtime.bigint()) / 1e6

for (;;) {
  const seen = Atomics.load(alarm, 0)
  const left = due[0] - now()
  if (left > 0) {
    Atomics.wait(alarm, 0, seen, left)
  } else {
    due[0] = Infinity
    parentPort.postMessage('due', [])
  }
}
