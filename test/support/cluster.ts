import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { until } from './until.ts'

/** One line of CLUSTER NODES. */
export interface NodeView {
  id: string
  port: number
  isMaster: boolean
  failed: boolean
  /** The id of its master, where it is a replica. */
  master: string | undefined
  slots: [first: number, last: number][]
}

/** A Redis Cluster of the tests' own: masters first, then a replica of each. */
export interface TestCluster extends AsyncDisposable {
  /** As ioredis takes them. */
  readonly startup: { host: string; port: number }[]
  readonly nodes: readonly RedisServer[]
  /** How the first of these nodes that answers sees the Cluster. Default: of all. */
  view(among?: readonly RedisServer[]): Promise<NodeView[]>
  /** The master that serves a slot now. */
  ownerOf(slot: number): Promise<{ id: string; node: RedisServer }>
  /** The server with that port. */
  byPort(port: number): RedisServer
  stop(): Promise<void>
}

const SLOTS = 16_384

/** Starts a Cluster on free ports of 127.0.0.1 and waits until every node agrees. */
export async function startCluster({
  masters = 3,
  replicas = 1,
  nodeTimeout = 1000,
  args = [] as readonly string[],
} = {}): Promise<TestCluster> {
  const nodes = await Promise.all(
    Array.from({ length: masters * (1 + replicas) }, () => startNode(nodeTimeout, args)),
  )
  const stop = async (): Promise<void> =>
    void (await Promise.all(nodes.map(({ server }) => server.stop())))
  try {
    await join(nodes, masters)
  } catch (error) {
    await stop()
    throw error
  }
  const servers = nodes.map(({ server }) => server)
  const byPort = (port: number): RedisServer => servers.find((each) => each.port === port)!
  async function view(among: readonly RedisServer[] = servers): Promise<NodeView[]> {
    for (const server of among) {
      const seen = await viewOf(server).catch(() => undefined)
      if (seen) return seen
    }
    throw new Error('no node of the Cluster answers')
  }
  return {
    startup: servers.map(({ host, port }) => ({ host, port })),
    nodes: servers,
    view,
    async ownerOf(slot) {
      const owner = (await view()).find(
        ({ isMaster, failed, slots }) =>
          isMaster && !failed && slots.some(([first, last]) => first <= slot && slot <= last),
      )
      if (!owner) throw new Error(`no node serves slot ${slot}`)
      return { id: owner.id, node: byPort(owner.port) }
    },
    byPort,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

interface Node {
  server: RedisServer
  bus: number
}

async function startNode(
  nodeTimeout: number,
  args: readonly string[],
  attempts = 5,
): Promise<Node> {
  // The bus's usual port, 10,000 further on, may be taken or beyond the last one.
  const bus = await freePort()
  const own = {
    'cluster-enabled': 'yes',
    'cluster-config-file': 'nodes.conf',
    'cluster-port': String(bus),
    'cluster-node-timeout': String(nodeTimeout),
    // A replica may take over however long it has been without its master.
    'cluster-replica-validity-factor': '0',
    'repl-diskless-sync-delay': '0',
  }
  const all = Object.entries(own).flatMap(([name, value]) => [`--${name}`, value])
  try {
    return { server: await startRedis({ args: [...all, ...args] }), bus }
  } catch (error) {
    // Another process may have taken the port of the bus meanwhile.
    if (attempts <= 1) throw error
    return await startNode(nodeTimeout, args, attempts - 1)
  }
}

async function join(nodes: readonly Node[], masters: number): Promise<void> {
  await Promise.all(
    nodes.map(({ server }, i) => must(server, 'CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))),
  )
  const share = Math.ceil(SLOTS / masters)
  await Promise.all(
    nodes.slice(0, masters).map(({ server }, i) => {
      const last = Math.min(SLOTS, (i + 1) * share) - 1
      return must(server, 'CLUSTER', 'ADDSLOTSRANGE', String(i * share), String(last))
    }),
  )
  const meetings = nodes.flatMap(({ server }) =>
    nodes
      .filter((other) => other.server !== server)
      .map(({ server: { host, port }, bus }) =>
        must(server, 'CLUSTER', 'MEET', host, String(port), String(bus)),
      ),
  )
  await Promise.all(meetings)
  const agree = async (what: string, check: (view: NodeView[]) => boolean): Promise<void> =>
    void (await Promise.all(
      nodes.map(({ server }) => until(what, async () => check(await viewOf(server)), 15_000)),
    ))
  const ids = await Promise.all(
    nodes.map(async ({ server }) => text(await server.send('CLUSTER', 'MYID'))),
  )
  // Until hands are shaken a node has a name that is made up.
  await agree('all nodes know each other', (view) =>
    ids.every((id) => view.some((seen) => seen.id === id)),
  )
  await Promise.all(
    nodes
      .slice(masters)
      .map(({ server }, i) => must(server, 'CLUSTER', 'REPLICATE', ids[i % masters]!)),
  )
  await agree(
    'all nodes know who is whose replica',
    (view) => view.filter(({ isMaster }) => !isMaster).length === nodes.length - masters,
  )
  const reports = async (server: RedisServer, what: string, ...command: string[]): Promise<void> =>
    void (await until(what, async () => (await server.send(...command)).includes(what), 15_000))
  await Promise.all(
    nodes.map(({ server }) => reports(server, 'cluster_state:ok', 'CLUSTER', 'INFO')),
  )
  await Promise.all(
    nodes
      .slice(masters)
      .map(({ server }) => reports(server, 'master_link_status:up', 'INFO', 'replication')),
  )
}

async function viewOf(server: RedisServer): Promise<NodeView[]> {
  const lines = text(await server.send('CLUSTER', 'NODES')).split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [id, address, flags, master, , , , , ...slots] = line.trim().split(' ')
      if (!address) throw new Error(line)
      return {
        id: id!,
        port: Number(/:(\d+)@/.exec(address)![1]),
        isMaster: flags!.includes('master'),
        failed: /\bfail\b/.test(flags!),
        master: master === '-' ? undefined : master,
        // A slot on the move is in brackets.
        slots: slots
          .filter((range) => !range.startsWith('['))
          .map((range) => {
            const [first, last = first] = range.split('-').map(Number)
            return [first!, last!]
          }),
      }
    })
}

/** The text of a bulk reply. */
const text = (reply: string): string => reply.replace(/^\$\d+\r\n/, '').replace(/\r\n$/, '')

async function must(server: RedisServer, ...command: string[]): Promise<void> {
  const reply = await server.send(...command)
  if (!reply.startsWith('+OK')) throw new Error(`${command.join(' ')}: ${reply}`)
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
