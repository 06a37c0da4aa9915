/** The tasks, declared alike in the processes that add jobs and in the workers. */
import { jobs } from 'turnpike/jobs'
import type { Turnpike } from 'turnpike/node'
import { channels } from 'turnpike/realtime'

export interface Run {
  id: string
  tenant: string
}

export interface Services {
  /** Runs a workflow. */
  execute?: (run: Run) => Promise<void>
  /** Sends a mail. */
  mail?: (to: string) => Promise<void>
}

export function createQueue<Native, Middleware>(
  tp: Turnpike<Native, Middleware, any>,
  { execute = async () => {}, mail = async () => {} }: Services = {},
) {
  const live = channels(tp)
  const queue = jobs(tp, { name: 'default', concurrency: 50 })
  const publish = (run: Run, type: string) =>
    live.publish(`workflow:${run.id}`, { type }, { tenant: run.tenant })

  queue.define('workflow.execute', { retries: 3, timeout: '5m' }, async (run: Run) => {
    await publish(run, 'workflow.started')
    await execute(run)
    await publish(run, 'workflow.completed')
  })
  queue.define('email.send', { retries: 3, timeout: '30s' }, ({ to }: { to: string }) => mail(to))
  queue.define('data.cleanup', async ({ type }: { type: string }) => ({ cleaned: type }))
  queue.define('cache.warm', async ({ ids, tenant }: { ids: string[]; tenant: string }) => {
    const definitions = tp.data.namespace('workflow_def', { ttl: '2h' })
    for (const id of ids) {
      await definitions.getOrFetch(id, () => ({ id, steps: ['draft', 'send'] }), { tenant })
    }
    return { warmed: ids.length }
  })
  return { queue, live }
}
