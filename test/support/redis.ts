import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Redis } from 'ioredis'

/** A Redis of the tests' own, empty and without a disk. */
export interface TestRedis {
  readonly port: number
  readonly url: string
  /** A plain client, connected. */
  readonly client: Redis
  /** Ends the client and the server. */
  stop(): Promise<void>
}

const COMMANDS = ['redis-server', 'valkey-server']
const PATIENCE = 10_000

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a server on a free port of 127.0.0.1 and waits until it answers. The command is
 * `REDIS_SERVER_BIN`, else `redis-server`, else `valkey-server`.
 */
export async function startTestRedis(...options: string[]): Promise<TestRedis> {
  const commands = process.env.REDIS_SERVER_BIN ? [process.env.REDIS_SERVER_BIN] : COMMANDS
  let failure: unknown
  for (const command of commands) {
    // A port found free may be taken before the server binds it.
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        return await start(command, await freePort(), options)
      } catch (error) {
        failure = error
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') break
      }
    }
  }
  throw new Error(`no Redis for the tests: tried ${commands.join(', ')}`, { cause: failure })
}

async function start(command: string, port: number, options: string[]): Promise<TestRedis> {
  const fixed = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const child = spawn(command, [...fixed, ...options], { stdio: 'ignore' })
  running.add(child)
  let dead: Error | undefined
  child.once('error', (error) => (dead = error))
  child.once('exit', (code) => {
    running.delete(child)
    dead ??= new Error(`${command} ended with code ${code}`)
  })

  const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: null })
  client.on('error', () => {})
  async function stop(): Promise<void> {
    client.disconnect()
    if (dead) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  const end = Date.now() + PATIENCE
  while (!dead && Date.now() < end) {
    try {
      if (client.status !== 'ready') await client.connect()
      await client.ping()
      return { port, url: `redis://127.0.0.1:${port}`, client, stop }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  await stop()
  throw dead ?? new Error(`${command} did not answer within ${PATIENCE} ms`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
