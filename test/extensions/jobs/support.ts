/** Worker processes for the tests of jobs. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { WorkOptions } from '../../../src/jobs.ts'
import { until } from '../../support/until.ts'

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url))

/** What a worker process says. */
export interface Said {
  type: 'ready' | 'count' | 'start' | 'end'
  id: string
  at: number
}

export interface WorkerProcess {
  readonly pid: number
  readonly said: Said[]
  ids(type: Said['type']): string[]
  kill(signal: NodeJS.Signals): void
  /** Resolves with the exit code and signal. */
  readonly ended: Promise<[number | null, NodeJS.Signals | null]>
}

/** Starts a worker process and waits until it works. */
export async function startWorker(
  url: string,
  options: WorkOptions,
  said: Said[] = [],
): Promise<WorkerProcess> {
  const child: ChildProcess = fork(WORKER, [url, JSON.stringify(options)])
  onTestFinished(() => void child.kill('SIGKILL'))
  child.on('message', (message) => said.push(message as Said))
  const ended = once(child, 'exit') as WorkerProcess['ended']
  const own = said.length
  await until(
    'the worker is ready',
    () => said.slice(own).some(({ type }) => type === 'ready'),
    15_000,
  )
  return {
    pid: child.pid!,
    said,
    ids: (type) => said.filter((each) => each.type === type).map(({ id }) => id),
    kill: (signal) => void child.kill(signal),
    ended,
  }
}
