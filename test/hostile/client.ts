/** One hostile connection: what it sends and how it ends depend on its seed alone. */
import { connect, type Socket } from 'node:net'
import { http1Script } from './http1.ts'
import { http2Script } from './http2.ts'
import { Random } from './random.ts'
import { FEATURES, randomRequest, type Credentials } from './requests.ts'
import { PATIENCE, type Step } from './script.ts'

export const USERS = ['ann', 'bob', 'cid', 'dee'] as const
/** Bytes that a connection looks through for the name of another user. */
const MAX_LOOK = 20_000

export interface Target {
  readonly ports: Readonly<Record<string, number>>
  /** What clients have, by application and user. */
  readonly credentials: Readonly<Record<string, readonly Credentials[]>>
}

/** What a connection did. */
export interface Outcome {
  server: string
  features: string[]
  /** The user whose data it got although it is another's. */
  leaked: string | undefined
}

/** The seeds of connections, by server, address and port, for those that a server does not close. */
export const seedsByAddress = new Map<string, number>()

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Resolves when `emitted` is called, or after `ms`. */
class Bell {
  #ring: (() => void) | undefined
  ring = (): void => this.#ring?.()
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#ring = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

async function play(socket: Socket, steps: readonly Step[], bytes: Bell): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return
    if ('write' in step) {
      if (socket.writable) socket.write(step.write)
    } else if ('read' in step) {
      if (step.read) socket.resume()
      else socket.pause()
    } else if ('finish' in step) socket.end()
    else if (step.wait === 'turn') await turn()
    else await bytes.wait(typeof step.wait === 'number' ? step.wait : PATIENCE[step.wait])
  }
}

/** Runs the connection of a seed. */
export async function runConnection(seed: number, target: Target): Promise<Outcome> {
  const random = new Random(seed)
  const server = random.pick(Object.keys(target.ports))
  const own = random.pick(target.credentials[server.split(',')[0]!]!)
  const deviations = random.pick([0, 0, 0, 1, 1, 1, 1, 2, 2, 3])
  const features = Array.from({ length: random.pick([1, 1, 1, 2, 3, 5]) }, () =>
    random.pick(FEATURES),
  )
  const strange = random.int(features.length)
  const requests = features.map((feature, i) =>
    randomRequest(random, own, feature, i === strange ? deviations : 0, seed),
  )
  const script = server.includes('HTTP/2') ? http2Script : http1Script
  const steps = script(random, requests, deviations)
  const socket = connect({
    port: target.ports[server]!,
    host: '127.0.0.1',
    // One address would run out of ports.
    localAddress: `127.0.0.${2 + random.int(250)}`,
    noDelay: true,
  })
  const bytes = new Bell()
  let received = ''
  socket.on('error', () => {})
  socket.on('data', (data) => {
    if (received.length < MAX_LOOK) received += data.toString('latin1')
    bytes.ring()
  })
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      bytes.ring()
      resolve()
    }),
  )
  await Promise.race([new Promise<void>((resolve) => socket.once('connect', resolve)), closed])
  seedsByAddress.set(`${server} ${socket.localAddress}:${socket.localPort}`, seed)
  await play(socket, steps, bytes)
  // A socket that has sent its end cannot be reset any more.
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
  await closed
  const shown = [...received.matchAll(/user=(\w+);/g)].map(([, user]) => user!)
  const leaked = shown.find((user) => user !== own.user && USERS.includes(user as 'ann'))
  return { server, features, leaked }
}
