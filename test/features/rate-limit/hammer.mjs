// One of several processes that hammer one key around a moment: 50 calls, half of them before it.
import { once } from 'node:events'
import { turnpike } from 'turnpike/express'

const [url, window] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '2s', requestBudget: '2s' })
const limiter = tp.limiter('hammer', { limit: 50, window: Number(window), fail: 'closed' })
await tp.ready()
await limiter.peek('key')

const at = []
let refused = 0
const hit = async () => {
  const decision = await limiter.consume('key')
  if (decision.source !== 'store') throw new Error(decision.source)
  if (decision.allowed) at.push(decision.at)
  else refused++
}
const until = (moment) => new Promise((resolve) => setTimeout(resolve, moment - Date.now()))
process.send('ready')
const [boundary] = await once(process, 'message')
// Early enough that a process on a loaded machine is not late.
await until(boundary - 1000)
await Promise.all(Array.from({ length: 25 }, hit))
await until(boundary + 100)
await Promise.all(Array.from({ length: 25 }, hit))
process.send({ at, refused }, () => void tp.close().then(() => process.disconnect()))
