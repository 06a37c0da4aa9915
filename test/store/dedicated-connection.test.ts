/** Connections for libraries that bring their own commands. */
import type { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { openDedicatedConnection } from '../../src/store/dedicated-connection.ts'
import { startRedis } from '../../src/testing.ts'
import { CLIENTS, clients } from '../support/clients.ts'
import { until } from '../support/until.ts'

test.for(CLIENTS)(
  'a connection that waits for Redis ends when it is disconnected, and so do its commands: %s',
  async (name) => {
    await using server = await startRedis()
    const source = clients[name].server(server.url)
    const connection = await openDedicatedConnection({
      source,
      db: undefined,
      reuse: false,
      commandTimeout: 100,
      purpose: 'blocking',
      warn: () => {},
    })
    const copy = (connection.client as Redis).duplicate()
    copy.on('error', () => {})
    await copy.connect()
    const sent = copy.blpop('list', 0).catch((error: Error) => error.message)
    await until('the command is there', async () =>
      /cmd=blpop/.test(await server.send('CLIENT', 'LIST')),
    )
    await server.kill()
    await until('it waits to reconnect', () => copy.status === 'reconnecting')
    const kept = copy.get('key').catch((error: Error) => error.message)
    const ended = new Promise<void>((resolve) => void copy.once('end', () => resolve()))
    copy.disconnect()
    await ended
    expect(await Promise.all([sent, kept])).toEqual([
      'Connection is closed.',
      'Connection is closed.',
    ])
    await connection.end()
    if (typeof source === 'object' && 'disconnect' in source) source.disconnect()
  },
)
