import { once } from 'node:events'
import { createApp } from './app.ts'

const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const { app, queue, stream, tp } = createApp({
  redis: process.env['REDIS_URL'] || 'memory',
  prefix: 'realtime',
})
const port = Number(process.env['PORT'] ?? 3000)
const server = app.listen(port, '127.0.0.1')
await once(server, 'listening')
// A worker. It may as well be a process of its own.
await queue.work()
console.log(`http://127.0.0.1:${port}\nCtrl-C ends it.`)

await ended
// Otherwise the server waits for them. Browsers connect again.
stream.endAll()
server.close()
// Connections that browsers keep ready are not waited for.
setTimeout(() => server.closeAllConnections(), 500).unref()
await once(server, 'close')
await tp.close()
