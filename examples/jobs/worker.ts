/** A worker process. It drains on SIGTERM: run as many as you need. */
import { turnpike } from 'turnpike/node'
import { createQueue } from './queue.ts'

const tp = turnpike({ redis: process.env['REDIS_URL'] ?? 'redis://localhost:6379' })
const queue = createQueue(tp, {
  charge: async ({ item, user }, id) => console.log(`charge ${user} for ${item} (${id})`),
  publish: async ({ text }) => console.log(`publish ${text}`),
})
await queue.work({ concurrency: 5 })
console.log('working')
