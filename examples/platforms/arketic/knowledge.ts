/** Users, models and knowledge: what is cached, for how long, and what it may cost. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router } from 'express'
import type { ExpressTurnpike } from 'turnpike/express'
import { userOf } from './user.ts'

export interface Models {
  answer: (prompt: string) => Promise<{ text: string; tokens: number }>
  embed: (text: string) => Promise<Float32Array>
}

const DEFAULT: Models = {
  answer: async (prompt) => ({ text: `An answer to ${prompt}`, tokens: 100 }),
  embed: async (text) => Float32Array.from(text.slice(0, 4), (letter) => letter.charCodeAt(0)),
}

export function knowledge({ tp, models = DEFAULT }: { tp: ExpressTurnpike; models?: Models }) {
  const router = Router()
  const loggedIn = tp.session.require()

  // 1. Cache management: each kind of value has a namespace of its own.
  const users = tp.data.namespace('user', { ttl: '1h' })
  const documents = tp.data.namespace('kb', { ttl: '1h' })
  const searches = tp.data.namespace('kb-search', { ttl: '15m' })
  const embeddings = tp.data.namespace('embedding', { ttl: '7d' })

  router.put('/users/:id/profile', loggedIn, async (req, res) => {
    await users.set(`${req.params['id']}:profile`, req.body)
    res.status(204).end()
  })
  // Batch operations: many values in one round trip.
  router.get('/users', loggedIn, async (req, res) => {
    const ids = [req.query['id'] ?? []].flat().map(String).slice(0, 100)
    res.json(await users.getMany(ids.map((id) => `${id}:profile`)))
  })
  router.delete('/users/:id', loggedIn, async (req, res) => {
    // Found by SCAN in steps, and counted.
    res.json({ removed: await users.invalidatePattern(`${req.params['id']}:*`) })
  })
  router.post('/users/:id/visits', loggedIn, async (req, res) => {
    const visits = await users.increment(`${req.params['id']}:visits`, 1, { ttl: '1d' })
    res.json({ visits })
  })

  // 2. AI operations: requests and tokens of a user, a month's tokens of an organisation.
  const requests = tp.rateLimit({ name: 'ai', key: tp.key.user(), limit: 20, window: '1m' })
  const tokens = tp.limiter('ai-tokens', {
    policies: [
      { name: 'user', limit: 10_000, window: '1m' },
      { name: 'organisation', limit: 1_000_000, window: 'month' },
    ],
  })
  // 1. AI responses: one call for everybody who asks the same.
  const answer = tp.data.wrap(models.answer, { name: 'ai', ttl: '1h' })
  router.post('/ai', loggedIn, requests, async (req, res) => {
    const prompt = String(req.body.prompt)
    const subject = { user: userOf(req), organisation: req.session.organisation! }
    // An estimate is charged before, the difference after.
    const budget = await tokens.consume(subject, { cost: 50 })
    if (!budget.allowed) {
      res.status(429).json({ reason: 'tokens' })
      return
    }
    const found = await answer(prompt)
    await budget.settle(found.tokens)
    res.json(found)
  })

  // 1. Knowledge base: documents, searches by a hash of the query, embeddings as bytes.
  const embed = embeddings.wrap(models.embed, { name: 'text' })
  const search = searches.wrap(
    async ({ kb, text }: { kb: string; text: string }) => [`${kb}: ${text}`],
    { name: 'kb', tags: (_found, { kb }) => [`kb:${kb}`] },
  )
  router.get('/kb/:id/search', loggedIn, async (req, res) => {
    const { q = '' } = req.query
    const text = typeof q === 'string' ? q.trim().toLowerCase() : ''
    res.json(await search({ kb: req.params.id, text }))
  })
  router.post('/kb/:id/documents', loggedIn, async (req, res) => {
    const id = req.params.id
    const vector = await embed(String(req.body.text))
    await documents.set(id, req.body)
    await tp.data.invalidate({ tags: [`kb:${id}`] })
    res.status(201).json({ dimensions: vector.length })
  })
  return router
}
