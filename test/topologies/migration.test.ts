/** A slot is moved from one node to another, key by key, while it is used. */
import { expect, it, onTestFinished } from 'vitest'
import { turnpike, type Turnpike } from '../../src/node.ts'
import { slotOf } from '../../src/store/slot.ts'
import type { RedisServer } from '../../src/testing.ts'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { express5 } from '../support/serve.ts'

const command = async (server: RedisServer, ...words: string[]): Promise<string> => {
  const reply = await server.send(...words)
  if (reply.startsWith('-')) throw new Error(`${words.join(' ')}: ${reply}`)
  return reply
}

/** Moves a slot as redis-cli does, a key at a time, with pauses in which it is on two nodes. */
async function move(cluster: TestCluster, slot: number, pause: number): Promise<void> {
  const from = await cluster.ownerOf(slot)
  const view = await cluster.view()
  const to = view.find(({ isMaster, port }) => isMaster && port !== from.node.port)!
  const target = cluster.byPort(to.port)
  const text = String(slot)
  await command(target, 'CLUSTER', 'SETSLOT', text, 'IMPORTING', from.id)
  await command(from.node, 'CLUSTER', 'SETSLOT', text, 'MIGRATING', to.id)
  for (;;) {
    const reply = await command(from.node, 'CLUSTER', 'GETKEYSINSLOT', text, '1')
    const [, key] = /\r\n\$\d+\r\n([^\r]+)\r\n/.exec(reply) ?? []
    if (key === undefined) break
    await command(from.node, 'MIGRATE', target.host, String(target.port), key, '0', '5000')
    await sleep(pause)
  }
  await sleep(pause)
  for (const server of [target, from.node])
    await command(server, 'CLUSTER', 'SETSLOT', text, 'NODE', to.id)
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function started(): Promise<{ cluster: TestCluster; instances: Turnpike<any, any>[] }> {
  const cluster = await startCluster({ replicas: 0 })
  const instances = [1, 2].map(() =>
    turnpike({ redis: { cluster: cluster.startup }, prefix: 'move', commandTimeout: 1000 }),
  )
  onTestFinished(async () => {
    await Promise.all(instances.map((tp) => tp.close()))
    await cluster.stop()
  })
  await Promise.all(instances.map((tp) => tp.ready()))
  return { cluster, instances }
}

it('limits stay exact: three windows, two processes, the slot moved six times', async () => {
  const { cluster, instances } = await started()
  const limiters = instances.map((tp) =>
    tp.limiter('jobs', {
      fail: 'closed',
      policies: [
        { name: 'm', limit: 300, window: '1h' },
        { name: 'h', limit: 1000, window: '2h' },
        { name: 'd', limit: 1000, window: '1d' },
      ],
    }),
  )
  // The node is well: what is on its other slots must not suffer.
  const breakers: unknown[] = []
  for (const tp of instances) tp.on('breaker', (event) => breakers.push(event))
  let [allowed, refused, away] = [0, 0, 0]
  let going = true
  const worker = async (limiter: (typeof limiters)[number]): Promise<void> => {
    while (going) {
      const decision = await limiter.consume('ann')
      if (decision.source !== 'store') away++
      else if (decision.allowed) allowed++
      else refused++
      await sleep(5)
    }
  }
  const workers = limiters.flatMap((limiter) => [worker(limiter), worker(limiter)])
  for (let i = 0; i < 6; i++) {
    await move(cluster, slotOf('{ann}'), 60)
    await sleep(50)
  }
  while (refused === 0) await sleep(5)
  going = false
  await Promise.all(workers)
  console.log(`limits while a slot moves: ${JSON.stringify({ allowed, refused, away })}`)
  expect(allowed).toBeLessThanOrEqual(300)
  expect(allowed).toBeGreaterThanOrEqual(300 - away)
  expect(breakers).toEqual([])
})

it('locks hold: never two holders', async () => {
  const { cluster, instances } = await started()
  let [inside, most, runs, away] = [0, 0, 0, 0]
  let going = true
  const worker = async (tp: Turnpike<any, any>): Promise<void> => {
    while (going) {
      try {
        await tp.lock('ann', { wait: '3s', lease: '3s' }, async () => {
          most = Math.max(most, ++inside)
          await sleep(10)
          inside--
          runs++
        })
      } catch (error) {
        if ((error as { code?: string }).code !== 'TP_UNAVAILABLE') throw error
        away++
        await sleep(10)
      }
    }
  }
  const workers = instances.flatMap((tp) => [worker(tp), worker(tp)])
  for (let i = 0; i < 4; i++) {
    await move(cluster, slotOf('{ann}'), 60)
    await sleep(50)
  }
  const before = runs
  while (runs === before) await sleep(5)
  going = false
  await Promise.all(workers)
  console.log(`locks while a slot moves: ${JSON.stringify({ most, runs, away })}`)
  expect(most).toBe(1)
})

it('sessions can be read all the time', async () => {
  const { cluster } = await started()
  const app = await express5.serve({
    options: {
      redis: { cluster: cluster.startup },
      prefix: 'read',
      commandTimeout: 1000,
      requestBudget: 2000,
    },
    routes: (tp) => ({
      '/': tp.session({ secret: 'a secret', cookie: { secure: false }, saveUninitialized: true }),
    }),
  })
  await app.tp.ready()
  const first = await app.get('/')
  const cookie = String(first.headers['set-cookie']).split(';')[0]!
  const slots = new Set<number>()
  for (const node of cluster.nodes) {
    const keys = await command(node, 'KEYS', 'read:session:*')
    for (const [key] of keys.matchAll(/read:session:\S+/g)) slots.add(slotOf(key))
  }
  expect(slots.size).toBe(1)
  const statuses: number[] = []
  let going = true
  const reading = (async () => {
    while (going) {
      const { status, headers } = await app.get('/', { cookie })
      // A client that has lost its session gets a new one.
      statuses.push(headers['set-cookie'] === undefined ? status : -status)
      await sleep(5)
    }
  })()
  for (let i = 0; i < 4; i++) {
    await move(cluster, [...slots][0]!, 100)
    await sleep(50)
  }
  going = false
  await reading
  expect(statuses.length).toBeGreaterThan(20)
  expect(new Set(statuses)).toEqual(new Set([200]))
})
