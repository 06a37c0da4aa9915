/** Workflows: steps in order, progress as it happens, one run at a time. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router } from 'express'
import { recent } from 'turnpike/collections'
import type { Config } from 'turnpike/flags'
import { progress, type Channels, type Inbox } from 'turnpike/realtime'
import type { Providers, providers } from './providers.ts'

export interface Workflows extends Providers {
  live: Channels
  notifications: Inbox
  system: Config<{ maxConcurrentWorkflows: number }>
}

const STEPS = ['research', 'content', 'images', 'publish', 'analytics']

export function workflows(
  { tp, live, userOf, notifications, system }: Workflows,
  llm: ReturnType<typeof providers>,
) {
  // 3. Progress is kept for 24 hours after the last change.
  const tasks = progress(live, { ttl: '24h' })
  const active = recent(tp, 'workflows', { max: 100, ttl: '30d' })
  const queries = tp.data.namespace('workflows', { ttl: '5m' })
  const table = new Map<string, { user: string; status: string }>() // your database

  async function run(id: string, user: string): Promise<void> {
    const { maxConcurrentWorkflows } = await system.get()
    const places = tp.semaphore('workflows', { limit: maxConcurrentWorkflows })
    // 10. One worker at a time for a workflow; its counter is the progress.
    await places.using(() =>
      tp.lock(['workflow', id], {}, async (signal) => {
        const task = tasks.of(id, { total: STEPS.length })
        await task.start()
        for (const step of STEPS) {
          signal.throwIfAborted()
          const { cost } = await llm.ask({ provider: 'openai', prompt: `${id}: ${step}` })
          await task.step(step, { cost })
        }
        await task.done()
      }),
    )
    table.get(id)!.status = 'completed'
    await tp.data.invalidate({ tags: [`user:${user}`] })
    await active.remove(user, id)
    const message = { type: 'workflow_completed', title: 'Workflow completed', workflow: id }
    await notifications.push(user, message, { id: `done:${id}` })
    await live.publish(`workflow:${id}`, message)
  }

  const router = Router()
  router.post('/workflows', tp.session.require(), tp.idempotency(), async (req, res) => {
    const id = String(req.body.id)
    table.set(id, { user: userOf(req), status: 'waiting' })
    await tp.data.invalidate({ tags: [`user:${userOf(req)}`] })
    await active.push(userOf(req), id)
    res.status(202).json({ id, progress: `/progress/${id}` })
  })
  router.post('/workflows/:id/run', tp.session.require(), async (req, res) => {
    const { id } = req.params
    const isOwn = table.get(id)?.user === userOf(req)
    if (isOwn) await run(id, userOf(req))
    res.status(isOwn ? 204 : 404).end()
  })
  router.get('/workflows', tp.session.require(), async (req, res) => {
    // 9. A query of the database, for five minutes or until a workflow is done.
    const query = () => [...table].filter(([, { user }]) => user === userOf(req))
    const all = await queries.getOrFetch(userOf(req), query, { tags: [`user:${userOf(req)}`] })
    res.json({ active: await active.list(userOf(req)), all: Object.fromEntries(all) })
  })
  router.use(
    '/progress',
    tasks.router({ authorize: (req, id) => table.get(id)?.user === userOf(req) }),
  )
  return { router }
}
