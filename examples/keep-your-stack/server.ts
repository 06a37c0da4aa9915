import { once } from 'node:events'
import { Redis } from 'ioredis'
import { createApp } from './app.ts'

const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
redis.on('error', ({ message }) => console.error(message))

const { app, tp } = createApp(redis)
const port = Number(process.env['PORT'] ?? 3000)
const server = app.listen(port, '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${port}/old and /new`)

await ended
server.close()
// Connections that browsers keep ready are not waited for.
setTimeout(() => server.closeAllConnections(), 500).unref()
await once(server, 'close')
await tp.close()
redis.disconnect()
