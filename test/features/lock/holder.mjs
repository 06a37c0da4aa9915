// One of several processes that want the same lock, or places in one semaphore. What happens inside
// is counted in a second Redis, which also checks the fencing tokens.
import { Redis } from 'ioredis'
import { turnpike } from 'turnpike/node'

const [url, effects, kind, count, ms] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '5s', requestBudget: '5s' })
const resource = new Redis(effects)
resource.defineCommand('goIn', {
  numberOfKeys: 0,
  lua: `local inside = redis.call('INCR', 'inside')
    if inside > tonumber(redis.call('GET', 'most') or '0') then redis.call('SET', 'most', inside) end
    if ARGV[1] ~= '' then
      if tonumber(ARGV[1]) <= tonumber(redis.call('GET', 'token') or '0') then redis.call('INCR', 'stale') end
      redis.call('SET', 'token', ARGV[1])
    end
    return redis.call('INCR', 'entries')`,
})
const visit = async (token) => {
  await resource.goIn(token)
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 4))
  await resource.decr('inside')
}
const semaphore =
  kind === 'semaphore' ? tp.semaphore('seven', { limit: 7, lease: '20s' }) : undefined
const work = semaphore
  ? () => semaphore.using({ wait: '60s' }, () => visit(''))
  : () =>
      tp.lock('one', { lease: '20s', wait: '60s', fair: kind === 'fair' }, (_signal, { token }) =>
        visit(String(token)),
      )

await tp.ready()
process.send('ready')
process.once('message', async () => {
  const end = performance.now() + Number(ms)
  let done = 0
  const loop = async () => {
    do {
      await work()
      done++
    } while (performance.now() < end)
  }
  await Promise.all(Array.from({ length: Number(count) }, loop))
  process.send(done, async () => {
    await tp.close()
    resource.disconnect()
    process.disconnect()
  })
})
