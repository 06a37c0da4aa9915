import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createApp } from './app.ts'

const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const redis = process.env['REDIS_URL']
const { app, queue, tp } = createApp({ redis: redis || 'memory' })
// With Redis, jobs run in a process of their own. Without it, they can run only here.
const worker = redis ? fork(path.join(import.meta.dirname, 'worker.mjs')) : undefined
if (!worker) await queue.work({ concurrency: 5, sigterm: false })
await tp.ready()
const port = Number(process.env['PORT'] ?? 3000)
const server = app.listen(port, '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${port}`)

await ended
server.close()
// Connections that browsers keep ready are not waited for.
setTimeout(() => server.closeAllConnections(), 500).unref()
await once(server, 'close')
// The worker finishes what it runs.
if (worker?.kill('SIGTERM')) await once(worker, 'exit')
await tp.close()
