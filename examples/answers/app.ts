/** A language model behind a cache: canonical keys, what was saved, streams that are replayed. */
// oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands their errors on
import express, { type ErrorRequestHandler, type Request, type Response } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'
import { createAnswers, type Models, type Question } from './answers.ts'
import { sampleModel } from './sample-model.ts'

export interface AppOptions extends TurnpikeOptions<Request>, Partial<Models> {}

export function createApp({ ask, embed, ...options }: AppOptions = {}) {
  const tp = turnpike(options)
  const answers = createAnswers(tp, {
    ask: ask ?? sampleModel.ask,
    embed: embed ?? sampleModel.embed,
  })
  const app = express().use(express.json())

  app.post('/answers', async (req, res) => {
    const question = questionOf(req.body)
    if (question === undefined) {
      res.status(400).json({ code: 'BAD_QUESTION' })
      return
    }
    if (req.accepts(['json', 'text/event-stream']) === 'json') {
      res.json(await answers.answer(question, () => {}))
      return
    }
    res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' }).flushHeaders()
    try {
      const { tokens, cached } = await answers.answer(question, (text) => send(res, 'part', text))
      send(res, 'end', { tokens, cached })
    } catch {
      // The head is sent: only the stream can tell.
      send(res, 'failed', 'The model did not answer')
    }
    res.end()
  })

  app.get('/saved/:model', async (req, res) => {
    const { microdollars, ...rest } = await answers.saved(req.params.model)
    res.json({ ...rest, dollars: microdollars / 1e6 })
  })

  app.post('/similarity', async (req, res) => {
    const [a, b] = (req.body?.texts ?? []) as unknown[]
    if (typeof a !== 'string' || typeof b !== 'string') {
      res.status(400).json({ code: 'BAD_TEXTS' })
      return
    }
    res.json({ similarity: cosine(...(await Promise.all([answers.embed(a), answers.embed(b)]))) })
  })

  const failed: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) return next(error)
    const { status = 502, code = 'MODEL' } = error
    res.status(status).json({ code })
  }
  app.use(failed)
  return { app, tp }
}

/** A client that has left does not end the answer: others may wait for it. */
function send(res: Response, event: string, data: unknown): void {
  if (!res.destroyed) res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

const isMessage = (value: any): boolean =>
  typeof value?.role === 'string' && typeof value.content === 'string'

/** Takes over what decides the answer, and nothing else: a user's ID would split the cache. */
function questionOf(body: any): Question | undefined {
  const { model = 'sample-1', messages, temperature = 0 } = body ?? {}
  if (typeof model !== 'string' || !/^[\w.-]{1,40}$/.test(model)) return undefined
  if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isMessage))
    return undefined
  if (typeof temperature !== 'number') return undefined
  return { model, messages: messages.map(({ role, content }) => ({ role, content })), temperature }
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) =>
    x.reduce((sum, each, i) => sum + each * y[i]!, 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)) || 0
}
