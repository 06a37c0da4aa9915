import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { freePort } from './cluster.ts'
import { until } from './until.ts'

/** A master, a replica and the Sentinels that watch over them. */
export interface TestSentinel extends AsyncDisposable {
  /** What turnpike is given. */
  readonly source: { sentinels: { host: string; port: number }[]; name: string }
  readonly master: RedisServer
  readonly replica: RedisServer
  /** The port of the master that the Sentinels name now. */
  masterPort(): Promise<number>
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const NAME = 'main'
const SENTINELS = 3
/** A master that is silent for so many ms is down; a failover that takes longer than so many is given up. */
const [DOWN_AFTER, FAILOVER] = [500, 2000]

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts all of them on free ports of 127.0.0.1 and waits until they know each other. */
export async function startSentinel(): Promise<TestSentinel> {
  const quick = ['--repl-diskless-sync-delay', '0']
  const master = await startRedis({ args: quick })
  const replica = await startRedis({
    args: [...quick, '--replicaof', `${HOST} ${master.port}`],
  })
  const folder = await mkdtemp(join(tmpdir(), 'turnpike-sentinel-'))
  const started: { child: ChildProcess; client: Redis; port: number }[] = []
  async function stop(): Promise<void> {
    for (const { client } of started) client.disconnect()
    await Promise.all(started.map(({ child }) => ended(child)))
    await Promise.all([master.stop(), replica.stop()])
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(
      'the replica is up',
      async () => (await replica.send('INFO', 'replication')).includes('master_link_status:up'),
      10_000,
    )
    for (let i = 0; i < SENTINELS; i++) started.push(await startOne(folder, master.port))
    await Promise.all(started.map(({ client }) => knowsAll(client)))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    source: { sentinels: started.map(({ port }) => ({ host: HOST, port })), name: NAME },
    master,
    replica,
    async masterPort() {
      const reply = await started[0]!.client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME)
      return Number((reply as string[])[1])
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function startOne(
  folder: string,
  master: number,
): Promise<{ child: ChildProcess; client: Redis; port: number }> {
  const port = await freePort()
  // A Sentinel rewrites its configuration, and wants a file for that.
  const file = join(folder, `${port}.conf`)
  const lines = [
    `port ${port}`,
    `bind ${HOST}`,
    `dir ${folder}`,
    `sentinel monitor ${NAME} ${HOST} ${master} 2`,
    `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER}`,
    `sentinel failover-timeout ${NAME} ${FAILOVER}`,
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  const child = await launch(file, '--sentinel')
  running.add(child)
  child.once('exit', () => running.delete(child))
  const client = new Redis({ port, host: HOST, retryStrategy: () => 20 })
  client.on('error', () => {})
  await until('a Sentinel answers', () => client.status === 'ready', 10_000)
  return { child, client, port }
}

/** As startRedis() chooses: any of these is also a Sentinel. */
async function launch(...args: string[]): Promise<ChildProcess> {
  const chosen = process.env['REDIS_SERVER_BIN']
  let failure: unknown
  for (const program of chosen ? [chosen] : ['redis-server', 'valkey-server']) {
    const child = spawn(program, args, { stdio: 'ignore' })
    try {
      await once(child, 'spawn')
      return child
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function knowsAll(client: Redis): Promise<void> {
  await until(
    'the Sentinels know each other',
    async () => {
      const reply = (await client.call('SENTINEL', 'MASTER', NAME)) as string[]
      const field = (name: string): number => Number(reply[reply.indexOf(name) + 1])
      return field('num-other-sentinels') === SENTINELS - 1 && field('num-slaves') === 1
    },
    15_000,
  )
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
