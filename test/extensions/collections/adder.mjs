// One of several processes that add to the same counters: `adder.mjs <redis url> <adds> <flush ms>`.
import { counters } from 'turnpike/collections'
import { turnpike } from 'turnpike/node'

const [url, adds, flush] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '5s', requestBudget: '5s' })
const stats = counters(tp, 'campaign', { flush: Number(flush) })
await tp.ready()
process.send('ready')
process.once('message', async () => {
  for (let i = 0; i < Number(adds); i++) {
    stats.add(i % 10, { clicks: 1 })
    if (i % 500 === 0) {
      process.send(i)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  await tp.close()
  process.disconnect()
})
