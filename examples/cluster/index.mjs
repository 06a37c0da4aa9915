/** A three-node Cluster and four processes of an application on it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startRedis } from 'turnpike/testing'

const SLOTS = 16_384

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Three masters that share the slots. */
async function startCluster() {
  const nodes = []
  for (let i = 0; i < 3; i++) {
    const bus = await freePort()
    const args = ['--cluster-enabled', 'yes', '--cluster-port', String(bus)]
    nodes.push({ bus, redis: await startRedis({ args }) })
  }
  const share = Math.ceil(SLOTS / nodes.length)
  for (const [i, { redis }] of nodes.entries()) {
    const last = Math.min(SLOTS, (i + 1) * share) - 1
    await redis.send('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))
    await redis.send('CLUSTER', 'ADDSLOTSRANGE', String(i * share), String(last))
  }
  for (const { redis } of nodes)
    for (const { redis: other, bus } of nodes)
      if (other !== redis)
        await redis.send('CLUSTER', 'MEET', other.host, String(other.port), String(bus))
  for (const { redis } of nodes)
    while (!(await redis.send('CLUSTER', 'INFO')).includes('cluster_state:ok')) await sleep(50)
  return nodes.map(({ redis }) => redis)
}

/** Starts everything. Returns the addresses of the processes, the number of reports, and a function that ends it all. */
export async function start(processes = 4) {
  const nodes = await startCluster()
  const NODES = JSON.stringify(nodes.map(({ host, port }) => ({ host, port })))
  const worker = fileURLToPath(new URL('worker.mjs', import.meta.url))
  let made = 0
  const children = Array.from({ length: processes }, () =>
    fork(worker, { env: { ...process.env, NODES } }),
  )
  for (const child of children) child.on('message', (message) => (made += message === 'made'))
  const ready = await Promise.all(children.map((child) => once(child, 'message')))
  return {
    urls: ready.map(([{ port }]) => `http://127.0.0.1:${port}`),
    made: () => made,
    async stop() {
      for (const child of children) child.kill()
      await Promise.all(nodes.map((node) => node.stop()))
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { urls, stop } = await start()
  console.log(urls.join('\n'))
  process.once('SIGINT', stop)
}
