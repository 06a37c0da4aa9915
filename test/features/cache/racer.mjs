// One of two processes that read, write and invalidate the same things for a while. A thing's value
// is kept in Redis itself; each write is acknowledged only after its invalidation.
import { createServer } from 'node:http'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { turnpike } from 'turnpike/node'

const [url, near, ms] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '2s', requestBudget: '4s' })
await tp.ready()
const truth = new Redis(url)
const cache = tp.cache({ ttl: '1m', near: near === 'near', tags: (req) => [req.url] })
const server = createServer((req, res) => {
  cache(req, res, async () => {
    const value = await truth.get(`truth:${req.url}`)
    // Time for a write and its invalidation to get in between.
    if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
    res.end(value ?? '0')
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
process.send('ready')
await once(process, 'message')

const end = Date.now() + Number(ms)
const counts = { reads: 0, hits: 0, writes: 0, stale: 0, own: 0, late: 0 }
/** What this process has been told is invalidated. */
const mine = new Map()
// On a machine that is busy with something else, too, it takes longer until that says anything.
const goesOn = () =>
  Date.now() < end || ((counts.hits < 100 || counts.writes < 60) && Date.now() < end + 12_000)
const any = () => `/thing${Math.floor(Math.random() * 4)}`
async function reader() {
  while (goesOn()) {
    const path = any()
    // What was acknowledged before this read began, by whichever process.
    const acknowledged = Number(await truth.get(`acknowledged:${path}`))
    const own = mine.get(path) ?? 0
    const began = Date.now()
    const answer = await fetch(`http://127.0.0.1:${port}${path}`)
    const value = Number(await answer.text())
    counts.reads++
    if (/hit|collapsed/.test(answer.headers.get('cache-status'))) counts.hits++
    if (value < own) counts.own++
    if (value >= acknowledged) continue
    counts.stale++
    const times = Object.entries(await truth.hgetall(`times:${path}`))
    const since = Math.min(
      ...times.filter(([of]) => Number(of) > value).map(([, at]) => Number(at)),
    )
    counts.late = Math.max(counts.late, began - since)
  }
}
async function writer() {
  while (goesOn()) {
    const path = any()
    const value = await truth.incr(`truth:${path}`)
    await tp.cache.invalidate({ tags: [path] })
    mine.set(path, Math.max(value, mine.get(path) ?? 0))
    await truth.eval(
      `local old = tonumber(redis.call('GET', KEYS[1]) or 0) if tonumber(ARGV[1]) > old then redis.call('SET', KEYS[1], ARGV[1]) end redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])`,
      2,
      `acknowledged:${path}`,
      `times:${path}`,
      value,
      Date.now(),
    )
    counts.writes++
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
  }
}
await Promise.all([...Array.from({ length: 16 }, reader), writer(), writer()])
process.send(counts, () => process.exit(0))
