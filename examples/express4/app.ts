/** Nothing differs for Express 4: the same import, the same middlewares. */
import express, { type ErrorRequestHandler, type Request } from 'express'
import { turnpike, type TurnpikeOptions } from 'turnpike/express'

export function createApp(options: TurnpikeOptions<Request> = {}) {
  const tp = turnpike(options)
  const app = express()
  // One proxy in front: req.ip, and so the limit, goes by the address that it saw.
  app.set('trust proxy', 1)

  const uploads = tp.rateLimit({
    name: 'uploads',
    limit: 1000,
    window: '1h',
    key: tp.key.header('x-api-key'),
    // What counts is the size: a thousand kilobytes an hour.
    cost: (req) => Math.ceil(Number(req.get('content-length') ?? 0) / 1024),
  })
  app.put('/files/:name', uploads, express.raw({ type: () => true, limit: '1mb' }), (req, res) => {
    res.status(201).json({ name: req.params['name'], left: req.rateLimit?.remaining })
  })

  const failed: ErrorRequestHandler = (error, _req, res, _next) => {
    const { status = 500, expose = false, code, message } = error
    res.status(status).json(expose ? { code, message } : { message: 'Something went wrong' })
  }
  app.use(failed)
  return { app, tp }
}
