/** Worker processes and streams for the tests of jobs. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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

/** Follows a stream of events. */
export async function follow(server: Server, path: string, headers = {}) {
  const { port } = server.address() as AddressInfo
  const asked = get({ port, path, headers, agent: false })
  onTestFinished(() => void asked.destroy())
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let text = ''
  let hasEnded = false
  response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  response.on('end', () => (hasEnded = true))
  response.on('error', () => {})
  return {
    response,
    events: () =>
      [...text.matchAll(/(?:id: (\w+)\n)?event: (\w+)\ndata: (.*)\n\n/g)].map(
        ([, id, name, data]) => ({
          id,
          name,
          data: JSON.parse(data!),
        }),
      ),
    hasEnded: () => hasEnded,
    leave: () => asked.destroy(),
  }
}
