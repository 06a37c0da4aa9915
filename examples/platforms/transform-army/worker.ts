/** A worker process. It drains on SIGTERM: run as many as you need. */
import { turnpike } from 'turnpike/node'
import { createQueue } from './queue.ts'

const tp = turnpike({
  redis: process.env['REDIS_URL'] ?? 'redis://localhost:6379',
  prefix: process.env['PREFIX'] ?? 'army',
  tenant: () => 'public',
})
const { queue } = createQueue(tp, {
  execute: async ({ id, tenant }) => console.log(`run ${id} of ${tenant}`),
})
await queue.work({ concurrency: 5 })
console.log('working')
