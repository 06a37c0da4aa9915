import express from 'express'
import request from 'supertest'
import { expect, onTestFinished, test } from 'vitest'
import { turnpike } from '../../src/express.ts'
import { startCluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'

// A managed service may show one address for servers that share the keys among them: nothing tells
// the client, but a script with keys of two slots is refused.
test('behind one address for many slots the cache and tp.data work as on one server', async () => {
  await using cluster = await startCluster({ masters: 1, replicas: 0 })
  const { url } = cluster.nodes[0]!
  const tp = turnpike({ redis: url, deadline: '2s', budget: '4s' })
  onTestFinished(() => tp.close())
  await tp.ready()
  let made = 0
  const app = express()
  app.get('/', tp.cache({ ttl: '1m', tags: ['all'] }), (_req, res) => void res.send(`${++made}`))
  const server = app.listen(0)
  onTestFinished(() => void server.close())
  const get = async () => {
    const { text, status, headers } = await request(server).get('/')
    return { text, status, cache: String(headers['cache-status']) }
  }
  expect(await get()).toMatchObject({ status: 200, text: '1' })
  await until('it is stored', () => tp.cache.stats().stored === 1)
  expect(await get()).toMatchObject({ text: '1', cache: expect.stringContaining('hit') })
  await tp.cache.invalidate({ tags: ['all'] })
  expect(await get()).toMatchObject({ status: 200, text: '2' })
  let loads = 0
  const load = () => tp.data.getOrFetch('key', () => ++loads, { ttl: '1m', tags: ['all'] })
  expect(await load()).toBe(1)
  await expect.poll(() => tp.data.get('key')).toBe(1)
  expect(await load()).toBe(1)
})
