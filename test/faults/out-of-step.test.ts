/** Replies that do not fit the commands: no answer may go to the wrong caller for long, and nothing may crash. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { operation } from '../../src/store/store.ts'
import { RespCounter } from '../support/resp-counter.ts'
import { openStore } from '../support/stores.ts'
import { until } from '../support/until.ts'

const get = operation<string | null>({ name: 'get', command: 'GET', memory: () => null })
const INFO = '# Server\r\nredis_version:7.0.15\r\nloading:0\r\n'
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`

/** A server that answers as Redis does, but GET as it is told. Gives its URL and its connections. */
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

describe('a reply that nobody waits for', () => {
  test.each([
    ['a null', '$-1\r\n'],
    ['a text', bulk('whose?')],
    ['an error', '-ERR whose?\r\n'],
    ['many of them', '$-1\r\n'.repeat(1000)],
  ])('%s: the connection is replaced', async (_, surplus) => {
    const { source, sockets } = await pretend((connection) =>
      connection === 1 ? bulk('mine') + surplus : bulk('mine'),
    )
    const { store } = openStore({ source })
    await store.ready()
    expect(await store.run(get, ['k'], [])).toBe('mine')
    await until('a second connection', () => sockets.length > 1)
    await store.ready()
    expect(await store.run(get, ['k'], [])).toBe('mine')
    expect(sockets).toHaveLength(2)
  })
})

test('answers that each come with the next command only: the connection is replaced', async () => {
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

test('a message of too few parts is no message', async () => {
  const { source, listeners } = await pretend(() => bulk('mine'))
  const { store } = openStore({ source })
  await store.ready()
  const heard: string[] = []
  store.subscribe('c', (message) => heard.push(message))
  const listening = await until('the subscription', () => listeners[0])
  listening.write(`>1\r\n${bulk('message')}>2\r\n${bulk('message')}${bulk('c')}`)
  listening.write(`>3\r\n${bulk('message')}${bulk('c')}${bulk('sound')}`)
  await until('it goes on', () => heard.length > 0)
  expect(heard).toEqual(['sound'])
})
