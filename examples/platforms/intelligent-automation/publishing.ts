/** Publishing: approved posts, at their time, on each platform, with retries and a status. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router } from 'express'
import { jobs } from 'turnpike/jobs'
import type { Providers } from './providers.ts'

export interface Post {
  id: string
  user: string
  platform: string
  text: string
}
export type PublishPost = (post: Post) => Promise<string>

export function publishing({
  tp,
  userOf,
  publish,
}: Pick<Providers, 'tp' | 'userOf'> & { publish: PublishPost }) {
  // 5. One queue for all platforms. A status is kept for 24 hours.
  const queue = jobs(tp, { name: 'publish' })
  queue.define('post', { retries: 3 }, (post: Post, job) =>
    // 10. One publication at a time for a user on a platform. A retry does not publish twice.
    tp.lock(['publish', post.platform, post.user], {}, () =>
      job.step('publish', async () => ({
        platformPostId: await publish(post),
        publishedAt: new Date().toISOString(),
      })),
    ),
  )
  // The approval queue. Your database holds the posts.
  const waiting = tp.data.namespace('approval', { ttl: '7d' })

  const router = Router()
  router.post('/posts', tp.session.require('write:content'), async (req, res) => {
    const { id, platform, text } = req.body
    await waiting.set(String(id), { id, platform, text, user: userOf(req) })
    res.status(201).end()
  })
  const admins = tp.session.require('admin:campaigns')
  router.post('/posts/:id/approve', admins, async (req, res) => {
    const post = (await waiting.get(req.params.id)) as Post | undefined
    if (!post) {
      res.status(404).end()
      return
    }
    const at = new Date(req.body.at)
    // Approved twice, it is published once.
    const job = await queue.add('post', post, { at, id: post.id, priority: 'high' })
    await waiting.delete(post.id)
    res.status(202).json(job)
  })
  router.use(
    '/publications',
    queue.router({ authorize: (req, { job }) => userOf(req) === (job?.payload as Post)?.user }),
  )
  // 10. Billing, one at a time for a user, and once for a key.
  const billing = tp.exclusive({ key: (req) => `billing:${userOf(req)}` })
  router.post('/billing', tp.session.require(), billing, tp.idempotency(), (_req, res) => {
    res.status(201).json({ charged: true })
  })
  return { router, queue }
}
