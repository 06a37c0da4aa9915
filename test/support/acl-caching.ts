import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import type { turnpike } from '../../src/node.ts'
import { createKeySpace } from '../../src/store/keys.ts'
import { until } from './until.ts'

/** Responses and data: stored, counted, hit in this process, invalidated in every way, their log pruned. */
export async function useCaching(
  tp: ReturnType<typeof turnpike>,
  redis: string,
  prefix: string,
  must: (what: string, holds: unknown) => void,
  isBroken: () => boolean,
): Promise<void> {
  const cache = tp.cache({ ttl: '1m', near: true, jitter: 0, tags: ['page'] })
  const server = createServer((req, res) => {
    cache(req, res, (error) => {
      res.statusCode = error ? 500 : 200
      res.setHeader('Vary', 'Accept-Language')
      res.end(error ? 'refused' : 'page')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  async function get(path: string, language = 'en'): Promise<string> {
    const headers = { 'accept-language': language }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
    const text = await response.text()
    if (response.status !== 200) throw new Error(text)
    return response.headers.get('cache-status') ?? ''
  }
  const lasting = async (what: string, check: () => Promise<unknown>): Promise<void> =>
    void (await until(what, async () => isBroken() || (await check())))
  try {
    await lasting('a hit in this process', async () => {
      await get('/')
      return tp.cache.stats().near > 0
    })
    // More variants than are kept of one resource.
    for (let i = 0; i < 34; i++) await get('/', `l${i}`)
    await lasting('all are stored', () => Promise.resolve(tp.cache.stats().stored > 34))
    await tp.cache.invalidate({ tags: ['page'] })
    await tp.cache.invalidate({ tags: ['page'], soft: true })
    must('invalidated', !(await get('/')).includes('hit'))
    must('a pattern', (await tp.cache.invalidatePattern('/*')) > 30)
    await tp.cache.clear()
  } finally {
    server.closeAllConnections()
    server.close()
  }

  const { data } = tp
  await data.setMany({ a: 1, b: [2] }, { tags: ['numbers'] })
  must('values', (await data.getMany(['a', 'b'])).length === 2 && (await data.exists('a')))
  must('a loader', (await data.getOrFetch('c', () => 3)) === 3)
  must('counted', (await data.increment('n', 2)) === 2 && (await data.expire('n', '1m')))
  must('deleted', (await data.delete('a')) && (await data.keys('*')).includes('b'))

  // A field older than any entry, as years of use leave them behind; and so many new ones that it is looked for.
  const keys = createKeySpace(prefix)
  const log = keys.key('inv', keys.tag('log'))
  const client = new Redis(redis, {
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    disableClientInfo: true,
  })
  client.on('error', () => {})
  try {
    await client.hset(log, 't:old', '1')
    await data.invalidate({ tags: Array.from({ length: 1000 }, (_, i) => `tag${i}`) })
    await lasting('the log is pruned', async () => (await client.hget(log, 't:old')) === null)
  } finally {
    client.disconnect()
  }
}
