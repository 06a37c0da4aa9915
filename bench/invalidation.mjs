/**
 * What invalidating a tag costs with 1, 1,000 and 1,000,000 entries under it:
 * `node bench/invalidation.mjs [--node 20] [--most 1000000]`.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { openLab, options, versionOf } from './lab.mjs'
import { fixed, median, print, quantile } from './table.mjs'

const { nodes, most = '1000000' } = options({ most: { type: 'string' } })
const ROUNDS = 1000
const BATCH = 10_000
const TAG = 'catalogue'

const lab = await openLab(nodes[0])
const { turnpike } = await import(pathToFileURL(path.join(lab.folder, 'dist/node.mjs')))
const tp = turnpike({ redis: lab.redis.url, commandTimeout: '10s', requestBudget: '10s' })
const client = new Redis(lab.redis.url)
const body = { name: 'Product', text: 'x'.repeat(160) }

let key

/** Fill up to `count` entries with the tag: the first by tp.data, the others as copies of its bytes. */
async function fill(count) {
  await tp.data.set('first', body, { tags: [TAG], ttl: '1h' })
  key ??= (await client.scan(0, 'MATCH', '*:data:*', 'COUNT', 1000))[1][0]
  const bytes = await client.getBuffer(key)
  for (let done = 1; done < count; done += BATCH) {
    const pipeline = client.pipeline()
    for (let i = done; i < Math.min(done + BATCH, count); i++)
      pipeline.set(`${key}:copy${i}`, bytes, 'PX', 3_600_000)
    await pipeline.exec()
  }
  return bytes.length
}

try {
  await tp.ready()
  const rows = []
  for (const count of [1, 1000, Number(most)]) {
    const bytes = await fill(count)
    const kept = await tp.data.get('first')
    await lab.forget()
    const times = []
    for (let i = 0; i < ROUNDS; i++) {
      const began = performance.now()
      await tp.data.invalidate({ tags: [TAG] })
      times.push(performance.now() - began)
    }
    const commands = await lab.commands()
    const script = commands.find(({ name }) => name === 'evalsha')
    if (kept === undefined || (await tp.data.get('first')) !== undefined)
      throw new Error('An entry was not hit, or was not there')
    rows.push([
      (await client.dbsize()).toLocaleString('en'),
      String(bytes),
      fixed(script.calls / ROUNDS, 2),
      fixed(script.usec / script.calls, 1),
      fixed(median(times), 3),
      fixed(quantile(times, 0.99), 3),
    ])
  }
  const head = [
    'keys in Redis',
    'bytes of an entry',
    'scripts',
    'us in the script',
    'p50 ms',
    'p99 ms',
  ]
  print(
    `### Redis ${lab.redisVersion}, Node ${versionOf(process.execPath)}: one invalidation, ${ROUNDS} in turn`,
    head,
    rows,
  )
} finally {
  client.disconnect()
  await tp.close()
  await lab.close()
}
