// One of several processes that hammer one subject with leases on. It reports each decision as it is made.
import { once } from 'node:events'
import { turnpike } from 'turnpike/express'

const { url, options, maxCost, pace } = JSON.parse(process.argv[2])
const tp = turnpike({ redis: url, commandTimeout: '2s', requestBudget: '2s' })
const limiters = options.map((each, i) => tp.limiter(`hammer${i}`, { ...each, fail: 'closed' }))
await tp.ready()
await limiters[0].peek('key')
process.send('ready')
process.on('disconnect', () => process.exit())
await once(process, 'message')

let [attempts, leased] = [0, 0]
/** A decision from a lease is made between two readings of the clock, one of Redis at its own time. */
const uses = []
const flush = () => {
  process.send({ uses: uses.splice(0), attempts, leased })
  attempts = leased = 0
}
setInterval(flush, 20)
for (;;) {
  const calls = Array.from({ length: limiters.length * 2 }, async (_, i) => {
    const cost = 1 + Math.floor(Math.random() * maxCost)
    const limiter = i % limiters.length
    const before = Date.now()
    const decision = await limiters[limiter].consume('key', cost)
    const after = Date.now()
    attempts++
    if (!decision.allowed) return
    if (decision.source === 'lease') {
      leased++
      uses.push([before, after, cost, limiter])
    } else uses.push([decision.at, decision.at, cost, limiter])
  })
  await Promise.all(calls)
  if (uses.length >= 200) flush()
  await new Promise((resolve) => setTimeout(resolve, Math.random() * pace * 2))
}
