import { once } from 'node:events'
import { createApp } from './app.ts'

const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const { app, queue, tp } = createApp({ redis: process.env['REDIS_URL'] || 'memory' })
await queue.work({ concurrency: 5, sigterm: false })
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
await tp.close()
