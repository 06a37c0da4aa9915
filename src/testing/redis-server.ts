import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Options of `startRedis()`. */
export interface RedisServerOptions {
  /** Additional arguments of the server, for example `['--maxmemory', '10mb']`. @default none */
  args?: readonly string[]
  /** Program to start. @default REDIS_SERVER_BIN, else `redis-server`, else `valkey-server` */
  bin?: string
}

/** A Redis server for one test: empty, on a free port of 127.0.0.1, without persistence. */
export interface RedisServer extends AsyncDisposable {
  /** Address of the server. */
  readonly host: '127.0.0.1'
  /** Port of the server. */
  readonly port: number
  /** `redis://127.0.0.1:<port>` */
  readonly url: string
  /** Freezes the process (SIGSTOP): connections stay open, and no command is answered. */
  freeze(): void
  /** Continues a frozen process (SIGCONT). */
  thaw(): void
  /** Kills the process (SIGKILL), as a crash would. */
  kill(): Promise<void>
  /** Starts the server again, empty, on the same port. Kills it first if it still runs. */
  restart(): Promise<void>
  /** Sends one command over a connection of its own: `send('DBSIZE')`. Resolves with the raw RESP reply. */
  send(...command: readonly string[]): Promise<string>
  /** Kills the server and removes its files. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const PATIENCE = 10_000
const running = new Set<ChildProcess>()
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const reap = (): void => {
  for (const child of running) child.kill('SIGKILL')
}
/** Kills the servers, then lets the signal end the process. Node runs no exit listeners for a signal. */
const reapAndDie = (signal: NodeJS.Signals): void => {
  reap()
  process.off(signal, reapAndDie)
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
}

/** Adds or removes the listeners that end the servers with this process. */
function watch(action: 'on' | 'off'): void {
  process[action]('exit', reap)
  for (const signal of SIGNALS) process[action](signal, reapAndDie)
}

/**
 * Starts a Redis or Valkey server for a test. It ends with the test's process at the latest, unless
 * that is ended by SIGKILL.
 * @throws Error with what to install, where there is no server to start
 */
export async function startRedis({
  args = [],
  bin,
}: RedisServerOptions = {}): Promise<RedisServer> {
  const chosen = bin ?? process.env['REDIS_SERVER_BIN']
  const programs = chosen ? [chosen] : ['redis-server', 'valkey-server']
  const folder = await mkdtemp(join(tmpdir(), 'turnpike-redis-'))
  let failure: unknown
  for (const program of programs) {
    // A port that was free may be taken before the server binds it.
    for (let attempt = 0; attempt < 3; attempt++) {
      const port = await freePort()
      const start = (): Promise<ChildProcess> => launch(program, port, folder, args)
      try {
        return serverOf(await start(), start, port, folder)
      } catch (error) {
        const absent = (error as NodeJS.ErrnoException).code === 'ENOENT'
        // That another program is not there says less than why this one did not come up.
        if (!absent || !failure) failure = error
        if (absent) break
      }
    }
  }
  await rm(folder, { recursive: true, force: true })
  throw new Error(
    `No Redis server could be started (tried ${programs.join(', ')}). Install one (apt-get install redis-server, brew install redis) or name it in REDIS_SERVER_BIN.`,
    { cause: failure },
  )
}

function serverOf(
  first: ChildProcess,
  start: () => Promise<ChildProcess>,
  port: number,
  folder: string,
): RedisServer {
  let child = first
  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  async function stop(): Promise<void> {
    await kill()
    await rm(folder, { recursive: true, force: true })
  }
  return {
    host: HOST,
    port,
    url: `redis://${HOST}:${port}`,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill,
    async restart() {
      await kill()
      child = await start()
    },
    send: (...command) => send(port, command),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function launch(
  program: string,
  port: number,
  folder: string,
  args: readonly string[],
): Promise<ChildProcess> {
  const fixed = [
    '--port',
    String(port),
    '--bind',
    HOST,
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ]
  const child = spawn(program, [...fixed, ...args], { stdio: 'ignore' })
  if (running.size === 0) watch('on')
  running.add(child)
  let dead: Error | undefined
  child.once('error', (error) => (dead = error))
  child.once('exit', (code) => {
    running.delete(child)
    if (running.size === 0) watch('off')
    dead ??= new Error(`${program} ended with code ${code}`)
  })
  const until = Date.now() + PATIENCE
  while (!dead && Date.now() < until) {
    // Only our own process will do: another one may answer at a port that was taken meanwhile.
    const info = await send(port, ['INFO', 'server']).catch(() => '')
    if (info.includes(`process_id:${child.pid}\r\n`) || info.startsWith('-NOAUTH')) return child
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  child.kill('SIGKILL')
  throw dead ?? new Error(`${program} did not answer within ${PATIENCE} ms`)
}

/** One command over a connection of its own, by RESP2. */
function send(port: number, command: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST)
    let reply = ''
    socket.setTimeout(2000, () => socket.destroy(new Error('no answer')))
    socket.on('error', reject)
    socket.on('data', (data) => (reply += data.toString('latin1')))
    socket.on('close', () => resolve(reply))
    const parts = command.map((each) => `$${Buffer.byteLength(each)}\r\n${each}\r\n`)
    socket.end(`*${command.length}\r\n${parts.join('')}*1\r\n$4\r\nQUIT\r\n`)
  }).then((reply) => String(reply).replace(/\+OK\r\n$/, ''))
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
