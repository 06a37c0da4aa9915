/** Work in the background: mails, reminders, videos. */
import { jobs } from 'turnpike/jobs'
import { bodyOf } from '../koa-json.ts'
import type { Parts } from './campaigns.ts'

export function work({ tp, router, notifications }: Parts) {
  // 5. One queue with three tasks. A finished job is kept for 24 hours.
  const queue = jobs(tp, { name: 'email-sending', path: '/jobs' })
  const sent: string[] = []
  queue.define('email.send', { retries: 3 }, async ({ to }: { to: string }, job) => {
    await job.step('send', () => void sent.push(to))
    await job.progress(100)
    await notifications.push(to, { type: 'sent', title: 'Mail sent' }, { id: job.id })
  })
  queue.define('campaign.reminder', async ({ campaign }: { campaign: string }) => {
    await notifications.announce(`Reminder of ${campaign}`)
  })

  const loggedIn = tp.session.require()
  router.post('/mails', loggedIn, queue.accept('email.send', bodyOf))
  router.post('/reminders', loggedIn, async (ctx) => {
    const { campaign, at } = bodyOf(ctx)
    ctx.status = 202
    ctx.body = await queue.add('campaign.reminder', { campaign }, { at: new Date(at) })
  })

  // 8. At most ten videos at a time, over all processes. A process that dies gives its places back.
  const videos = tp.semaphore('video-processing', { limit: 10 })
  router.post('/videos', loggedIn, async (ctx) => {
    ctx.body = await videos.using(() => ({ processed: true }))
  })
  const status = queue.router({
    authorize: (ctx, { job }) => ctx.session?.userId === (job?.payload as any)?.to,
  })
  return { queue, sent, status }
}
