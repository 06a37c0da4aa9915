import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { RespCounter } from './resp-counter.ts'

export interface Faults {
  /**
   * - `ok`: bytes pass
   * - `refuse`: new connections are reset at once
   * - `stall`: both ways keep what comes, and TCP stays up; it is delivered when the stall ends
   * - `stallDown`: the server receives and executes, its replies are held back
   */
  mode: 'ok' | 'refuse' | 'stall' | 'stallDown'
  /** Milliseconds that each way takes longer. */
  latency: number
  /** Up to so many ms more, another number for each piece; pieces keep their order. */
  jitter: number
  /** Bytes a second, each way; 0: as many as come. */
  bandwidth: number
  /** Which part of the server's pieces, from 0 to 1, is lost with its connection (RST). */
  drops: number
  /** Which part of the server's pieces has one bit turned. */
  corrupts: number
  /** What becomes of a piece of the server's. */
  rewrite: (piece: Buffer) => Buffer
}

/** What went from the clients to the server since the start, or since `forget()`. */
export interface Traffic {
  connections: number
  /** Pieces as they arrived: on loopback one for each write of a client. */
  writes: number
  bytes: number
  /** The names of the commands, in order and in capitals. */
  commands: string[]
  /** How often a client spoke after it had been answered. */
  roundTrips: number
}

/** Stands between a client and a server and makes a bad network of it. */
export interface FaultProxy extends AsyncDisposable {
  readonly port: number
  /** `redis://127.0.0.1:<port>` */
  readonly url: string
  readonly traffic: Traffic
  set(faults: Partial<Faults>): void
  /** No more faults. */
  heal(): void
  /** Break all connections off (RST). What was kept is lost. */
  reset(): void
  /** Leave the connections of now half-open for ever: no byte, no FIN. New ones are as usual. */
  strand(): void
  /** Count from zero. */
  forget(): void
  close(): Promise<void>
}

interface Link {
  client: Socket
  server: Socket
  stranded: boolean
}

const HOST = '127.0.0.1'
const HEALTHY: Faults = {
  mode: 'ok',
  latency: 0,
  jitter: 0,
  bandwidth: 0,
  drops: 0,
  corrupts: 0,
  rewrite: (piece) => piece,
}
const nothing = (): Traffic => ({
  connections: 0,
  writes: 0,
  bytes: 0,
  commands: [],
  roundTrips: 0,
})

/** A proxy in front of the server at `target`, a port of 127.0.0.1. */
export async function startFaultProxy(target: number): Promise<FaultProxy> {
  const faults: Faults = { ...HEALTHY }
  const links = new Set<Link>()
  let traffic = nothing()
  let wake: () => void = () => {}
  let change = new Promise<void>((resolve) => (wake = resolve))

  const holds = (link: Link, up: boolean): boolean =>
    link.stranded || faults.mode === 'stall' || (faults.mode === 'stallDown' && !up)

  /** One direction: pieces in order, each when its time has come. */
  function pump(link: Link, up: boolean, received: (piece: Buffer) => void): void {
    const [from, to] = up ? [link.client, link.server] : [link.server, link.client]
    let before = Promise.resolve()
    const inTurn = (deliver: () => void, bytes: number): void => {
      const due = performance.now() + faults.latency + Math.random() * faults.jitter
      before = before.then(async () => {
        await sleep(due - performance.now())
        // What the line still holds when it is healed comes at once.
        if (faults.bandwidth > 0)
          await Promise.race([sleep((bytes / faults.bandwidth) * 1000), change])
        while (holds(link, up) && links.has(link)) await change
        if (!to.destroyed) deliver()
      })
    }
    from.on('data', (piece) => {
      received(piece)
      if (!up && Math.random() < faults.drops) return cut(link)
      const whole = up ? piece : faults.rewrite(piece)
      const sent = !up && Math.random() < faults.corrupts ? corrupted(whole) : whole
      inTurn(() => to.write(sent), sent.length)
    })
    from.on('end', () => inTurn(() => to.end(), 0))
    from.on('error', () => {})
    from.on('close', () => {
      // A half-open peer does not learn that the other end has closed.
      if (link.stranded && !from.destroyed) return
      links.delete(link)
      if (!link.stranded) to.destroy()
      changed()
    })
  }

  function changed(): void {
    wake()
    change = new Promise((resolve) => (wake = resolve))
  }

  // Half-open is allowed: what a stalled network does with a FIN is nothing.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => {})
    traffic.connections++
    if (faults.mode === 'refuse') {
      client.resetAndDestroy()
      return
    }
    const server = connect({ port: target, host: HOST, allowHalfOpen: true, noDelay: true })
    const link: Link = { client, server, stranded: false }
    links.add(link)
    server.on('error', () => client.resetAndDestroy())
    const resp = new RespCounter()
    let answered = true
    pump(link, true, (piece) => {
      traffic.writes++
      traffic.bytes += piece.length
      traffic.commands.push(...resp.read(piece))
      if (answered) traffic.roundTrips++
      answered = false
    })
    pump(link, false, () => (answered = true))
  }).listen(0, HOST)
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo

  function cut(link: Link): void {
    links.delete(link)
    link.client.resetAndDestroy()
    link.server.resetAndDestroy()
    changed()
  }

  function reset(): void {
    for (const link of links) cut(link)
  }

  async function close(): Promise<void> {
    reset()
    listener.close()
    await once(listener, 'close')
  }

  return {
    port,
    url: `redis://${HOST}:${port}`,
    get traffic() {
      return traffic
    },
    set(wanted) {
      Object.assign(faults, wanted)
      changed()
    },
    heal() {
      Object.assign(faults, HEALTHY)
      changed()
    },
    reset,
    strand() {
      for (const link of links) link.stranded = true
    },
    forget: () => void (traffic = nothing()),
    close,
    [Symbol.asyncDispose]: close,
  }
}

function sleep(ms: number): Promise<void> | undefined {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined
}

/** The same bytes, but for one bit. */
function corrupted(piece: Buffer): Buffer {
  const bytes = Buffer.from(piece)
  const at = Math.floor(Math.random() * bytes.length)
  bytes[at] = bytes[at]! ^ (1 << Math.floor(Math.random() * 8))
  return bytes
}
