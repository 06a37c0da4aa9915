/** Replies that do not match the commands. No reply may reach the wrong caller for long, and nothing may crash. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { operation } from '../../src/store/store.ts'
import { slotOf } from '../../src/store/slot.ts'
import { CLIENTS, clients, type ClientName } from '../support/clients.ts'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { RespCounter } from '../support/resp-counter.ts'
import { openStore } from '../support/stores.ts'
import { until } from '../support/until.ts'

const get = operation<string | null>({ name: 'get', command: 'GET', memory: () => null })
const INFO = '# Server\r\nredis_version:7.0.15\r\nloading:0\r\n'
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`

/** Starts a server that answers as Redis does, but GET as configured. Returns its URL and its connections. */
async function pretend(answer: (connection: number, socket: Socket) => string) {
  const sockets: Socket[] = []
  const listeners: Socket[] = []
  const server = createServer((socket) => {
    const connection = sockets.push(socket)
    const resp = new RespCounter()
    socket.on('error', () => {})
    socket.on('data', (data) => {
      for (const command of resp.read(data)) {
        if (command === 'GET') socket.write(answer(connection, socket))
        else if (command === 'PING') socket.write('+PONG\r\n')
        else if (command === 'TIME') socket.write(`*2\r\n${bulk('1700000000')}${bulk('0')}`)
        else if (command === 'SUBSCRIBE') {
          listeners.push(socket)
          socket.write(`>3\r\n${bulk('subscribe')}${bulk('c')}:1\r\n`)
        } else socket.write(bulk(INFO))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    source: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    listeners,
  }
}

const surpluses = [
  ['a null', '$-1\r\n'],
  ['a text', bulk('whose?')],
  ['an error', '-ERR whose?\r\n'],
  ['many of them', '$-1\r\n'.repeat(1000)],
] as const
const SURPLUS = surpluses.flatMap(([name, surplus]) =>
  CLIENTS.map((client) => ({ name, surplus, client })),
)

describe('a reply that no call waits for', () => {
  test.each(SURPLUS)('$name, $client: the connection is replaced', async ({ surplus, client }) => {
    const { source, sockets } = await pretend((connection) =>
      connection === 1 ? bulk('mine') + surplus : bulk('mine'),
    )
    const { store } = openStore({ source: clients[client].server(source) })
    await store.ready()
    expect(await store.run(get, ['k'], [])).toBe('mine')
    await until('a second connection', () => sockets.length > 1)
    await store.ready()
    expect(await store.run(get, ['k'], [])).toBe('mine')
    expect(sockets).toHaveLength(2)
  })
})

test('replies that arrive one command late: the connection is replaced', async () => {
  let kept = ''
  const { source, sockets } = await pretend((connection) => {
    if (connection > 1) return bulk('mine')
    const late = kept
    kept = bulk('mine')
    return late
  })
  const { store, events } = openStore({ source })
  await store.ready()
  await until('an answer in time', () =>
    store.run(get, ['k'], []).then(
      () => sockets.length > 1,
      () => false,
    ),
  )
  expect(events.replaced).not.toEqual([])
  expect(await store.run(get, ['k'], [])).toBe('mine')
})

test('a message with too few parts is ignored', async () => {
  const { source, listeners } = await pretend(() => bulk('mine'))
  const { store } = openStore({ source })
  await store.ready()
  const messages: string[] = []
  store.subscribe('c', (message) => messages.push(message))
  const listening = await until('the subscription', () => listeners[0])
  listening.write(`>1\r\n${bulk('message')}>2\r\n${bulk('message')}${bulk('c')}`)
  listening.write(`>3\r\n${bulk('message')}${bulk('c')}${bulk('sound')}`)
  await until('it goes on', () => messages.length > 0)
  expect(messages).toEqual(['sound'])
})

describe('on one node of a Cluster', () => {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await startCluster({ replicas: 0 })
  })
  afterAll(() => cluster.stop())

  /** A store on the Cluster, whose nodes are behind proxies, and a key that holds its name on each node. */
  async function behindProxies(client: ClientName = 'ioredis 6') {
    const nodes = await Promise.all(
      cluster.nodes.map(async (node) => ({ node, proxy: await startFaultProxy(node.port) })),
    )
    onTestFinished(async () => void (await Promise.all(nodes.map(({ proxy }) => proxy.close()))))
    const natMap = Object.fromEntries(
      nodes.map(({ node, proxy }) => [
        `${node.host}:${node.port}`,
        { host: '127.0.0.1', port: proxy.port },
      ]),
    )
    const startup = nodes.map(({ proxy }) => ({ host: '127.0.0.1', port: proxy.port }))
    const source = clients[client].cluster({ cluster: startup, options: { natMap } })
    const opened = openStore({ source })
    await opened.store.ready()
    const read = (key: string): Promise<string | null> => opened.store.run(get, [key], [])
    const places = await Promise.all(
      nodes.map(async ({ node, proxy }) => {
        let i = 0
        while ((await cluster.ownerOf(slotOf(`k${i}`))).node !== node) i++
        const key = `k${i}`
        await node.send('SET', key, key)
        expect(await read(key)).toBe(key)
        // ioredis has others, by which it asks for the map of slots.
        const connection = async (): Promise<string | undefined> =>
          / id=(\d+) .* cmd=get /.exec(
            (await node.send('CLIENT', 'LIST')).replaceAll('\n', '\n '),
          )?.[1]
        return { key, proxy, connection, first: await connection() }
      }),
    )
    const [sick, ...well] = places
    /** The faulty node is read over another connection, and the other nodes are unaffected. */
    async function expectReplaced(): Promise<void> {
      const { key, connection, first } = sick!
      await until('another connection', async () => {
        const isRead = await read(key).then(
          (value) => value === key,
          () => false,
        )
        const now = await connection()
        return isRead && now !== undefined && now !== first
      })
      await opened.store.ready()
      for (const { key } of places) expect(await read(key)).toBe(key)
      for (const { connection, first } of well) expect(await connection()).toBe(first)
    }
    return { ...opened, sick: sick!, well, read, expectReplaced }
  }

  test.each(SURPLUS)(
    '$name that no call waits for, $client: its connection is replaced',
    async ({ surplus, client }) => {
      const { events, sick, read, expectReplaced } = await behindProxies(client)
      let isDone = false
      sick.proxy.set({
        rewrite(piece) {
          if (isDone) return piece
          isDone = true
          return Buffer.concat([piece, Buffer.from(surplus)])
        },
      })
      expect(await read(sick.key)).toBe(sick.key)
      await expectReplaced()
      expect(events.breaker).toEqual([])
    },
  )

  test('replies that arrive one command late: its connection is replaced', async () => {
    const { events, sick, expectReplaced } = await behindProxies()
    let kept: Buffer = Buffer.alloc(0)
    sick.proxy.forget()
    sick.proxy.set({
      rewrite(piece) {
        if (sick.proxy.traffic.connections > 0) return piece
        const late = kept
        kept = piece
        return late
      },
    })
    await expectReplaced()
    expect(events.replaced).not.toEqual([])
  })

  test('bytes that are not a reply: its connection is replaced', async () => {
    const { sick, well, read, expectReplaced } = await behindProxies()
    let isDone = false
    sick.proxy.set({
      rewrite(piece) {
        if (isDone) return piece
        isDone = true
        return Buffer.from('?what\r\n')
      },
    })
    await expect(read(sick.key)).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
    for (const { key } of well) expect(await read(key)).toBe(key)
    await expectReplaced()
  })

  const noMaps = [
    ['no map', '$-1\r\n'],
    ['a text', bulk('whose?')],
    ['a surplus', '*0\r\n$-1\r\n'],
  ] as const
  const NO_MAP = noMaps.flatMap(([name, answer]) =>
    CLIENTS.map((client) => ({ name, answer, client })),
  )
  test.each(NO_MAP)(
    '$name where the map of slots is asked for, $client: nothing crashes',
    async ({ answer, client }) => {
      const { sick, well, expectReplaced } = await behindProxies(client)
      let answers = 0
      for (const { proxy } of [sick, ...well])
        proxy.set({
          rewrite: (piece) =>
            /^\*\d+\r\n\*/.test(String(piece)) && answers++ < 5 ? Buffer.from(answer) : piece,
        })
      sick.proxy.reset()
      await until('the map was asked for', () => answers > 1)
      await expectReplaced()
    },
  )
})
