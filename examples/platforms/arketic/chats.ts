/** Chats: the last messages, who takes part, and what happens now. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router, type Request } from 'express'
import { list } from 'turnpike/collections'
import type { ExpressTurnpike } from 'turnpike/express'
import { sse, subscriptions, type Channels } from 'turnpike/realtime'
import { userOf } from './user.ts'

interface Message {
  from: string
  text: string
}

export function chats({ tp, live }: { tp: ExpressTurnpike; live: Channels }) {
  const router = Router()
  // 1. Chat caching.
  const messages = list<Message>(tp, 'chat', { max: 200, ttl: '24h' })
  const participants = subscriptions(tp, { name: 'chat', ttl: '30d', max: 200 })
  const metadata = tp.data.namespace('chat', { ttl: '24h' })
  const idOf = (req: Request): string => String(req.params['id'])

  // 2. Of a user on this endpoint, and of all users on it.
  const perUser = tp.rateLimit({
    name: 'user-endpoint',
    limit: 100,
    window: '1m',
    key: tp.key.all(tp.key.user(), tp.key.route()),
  })
  const all = tp.rateLimit({
    name: 'endpoint',
    limit: 100_000,
    window: '1m',
    key: tp.key.route(),
  })
  const loggedIn = tp.session.require()
  router.post('/chats/:id/messages', loggedIn, all, perUser, async (req, res) => {
    const message = { from: userOf(req), text: String(req.body.text) }
    await messages.append(idOf(req), message)
    await participants.add(idOf(req), [userOf(req)])
    await metadata.set(idOf(req), { lastMessage: new Date() })
    // 4. Real-time features.
    await live.publish(`chat:${idOf(req)}`, message)
    res.status(201).end()
  })
  router.get('/chats/:id', loggedIn, async (req, res) => {
    res.json({
      messages: await messages.last(idOf(req), 50),
      participants: await participants.list(idOf(req)),
      metadata: await metadata.get(idOf(req)),
    })
  })
  router.get('/chats/:id/stream', loggedIn, sse(live, { topics: (req) => `chat:${idOf(req)}` }))
  return router
}
