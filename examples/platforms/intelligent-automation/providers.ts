/** Providers: limits of calls, tokens as cost, cached answers, the choice of a provider, clients of the federation. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import { Router, type Request } from 'express'
import type { turnpike } from 'turnpike/express'

export interface Prompt {
  provider: string
  prompt: string
}
export interface Providers {
  tp: ReturnType<typeof turnpike>
  userOf: (req: Request) => string
  call: (prompt: Prompt) => Promise<{ text: string; tokens: number }>
}

export function providers({ tp, userOf, call }: Providers) {
  // 2. Each provider has its own limit. A call waits for its turn.
  const calls = tp.limiter('provider', { limit: 60, window: '1m' })
  // 10. Resource allocation: tokens are known after the call.
  const tokens = tp.limiter('llm-tokens', { limit: 100_000, window: '1h' })

  // 9. LLM responses: one call for everybody who asks the same, for an hour.
  const ask = tp.data.wrap(
    async (prompt: Prompt) => {
      await calls.wait(prompt.provider, { wait: '10s' })
      const answer = await call(prompt)
      return { ...answer, cost: (answer.tokens * 4) / 100_000 }
    },
    { name: 'llm', ttl: '1h' },
  )
  // 8. Capabilities of a server for an hour, the choice of a provider for half an hour.
  const capabilities = tp.data.namespace('capabilities', { ttl: '1h' })
  const selection = tp.data.namespace('selection', { ttl: '30m' })
  const clients = tp.data.namespace('client', { ttl: '5m' })

  const router = Router()
  router.post('/ask', tp.session.require(), async (req, res) => {
    const budget = await tokens.consume(userOf(req))
    if (!budget.allowed) {
      res.status(429).end()
      return
    }
    const answer = await ask({ provider: 'openai', prompt: String(req.body.prompt) })
    await budget.settle(answer.tokens)
    res.json(answer)
  })
  router.get('/capabilities/:server', async (req, res) => {
    const { server } = req.params
    res.json(await capabilities.getOrFetch(server, () => ({ tools: ['create_blog'], cost: 0.05 })))
  })
  router.get('/providers/:task', async (req, res) => {
    const choose = () => ({ best: 'openai', cost: 8.5, performance: 9.2, availability: 9.8 })
    res.json(await selection.getOrFetch(req.params.task, choose))
  })
  // A client that is silent for five minutes has no status.
  router.put('/clients/:id', async (req, res) => {
    await clients.set(req.params.id, { ...req.body, lastPing: new Date() })
    res.status(204).end()
  })
  router.get('/clients/:id', async (req, res) => {
    const status = await clients.get(req.params.id)
    res.status(status ? 200 : 404).json(status ?? {})
  })
  return { router, ask }
}
