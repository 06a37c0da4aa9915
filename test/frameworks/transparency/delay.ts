/** A middleware that waits, as any that asks a database does. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setImmediate as immediate, setTimeout as timer } from 'node:timers/promises'
import type { Delay, Target } from './program.ts'

/** Creates a middleware that waits, and does nothing else. Koa's waits on the way out, too. */
export function createDelay(target: Target, delay: Delay): (...args: any[]) => any {
  if (target.startsWith('Koa')) {
    return async (_ctx: unknown, next: () => unknown) => {
      await waitFor(delay)
      await next()
      // As koa-session with a store does: it saves before Koa sends.
      await waitFor(delay)
    }
  }
  return (_req: unknown, _res: unknown, next: () => void) => void waitFor(delay).then(() => next())
}

async function waitFor(delay: Delay): Promise<unknown> {
  if (delay === 'immediate') return immediate()
  if (delay === 'timer') return timer(1)
  // The next call comes from a socket, as that of a client of Redis.
  const server = createServer((socket) => socket.end('go')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'data')
  socket.destroy()
  return server.close()
}
