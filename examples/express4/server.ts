import { once } from 'node:events'
import { createApp } from './app.ts'

const { app, tp } = createApp({ redis: process.env['REDIS_URL'] || 'memory' })
const port = Number(process.env['PORT'] ?? 3000)
const server = app.listen(port, '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${port}`)

await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
server.close()
await once(server, 'close')
await tp.close()
