/** bull-board, the page that operators of BullMQ know. It shows payloads, and retries and removes jobs. */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { ExpressAdapter } from '@bull-board/express'
import type { RequestHandler } from 'express'

/** Returns a middleware to be mounted at `path`, behind your own authorization. */
export function boardOf(queue: { board(): Promise<any> }, path: string): RequestHandler {
  let opening: Promise<RequestHandler> | undefined

  async function open(): Promise<RequestHandler> {
    const serverAdapter = new ExpressAdapter().setBasePath(path)
    createBullBoard({ queues: [new BullMQAdapter(await queue.board())], serverAdapter })
    return serverAdapter.getRouter() as RequestHandler
  }

  return (req, res, next) => {
    // The first request opens it, so that the application starts without Redis.
    opening ??= open()
    opening.then(
      (router) => router(req, res, next),
      (error: unknown) => {
        opening = undefined
        next(error)
      },
    )
  }
}
