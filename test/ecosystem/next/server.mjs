/** A custom server: turnpike's middlewares before Next's handler. */
import { createServer } from 'node:http'
import next from 'next'
import { turnpike } from 'turnpike/node'

const app = next({ dev: false, dir: import.meta.dirname })
await app.prepare()
const handle = app.getRequestHandler()
const tp = turnpike({ redis: process.env.REDIS_URL, prefix: 'custom', commandTimeout: '5s' })
await tp.ready()
const chain = tp.pipeline(
  tp.session({ secret: process.env.SECRET }),
  tp.rateLimit({ limit: 5, window: '1m', skip: (req) => req.url !== '/' }),
)
const server = createServer((req, res) => {
  chain(req, res, (error) => {
    if (error) return void res.writeHead(error.status ?? 500).end()
    if (req.url === '/visit') {
      req.session.visits = (req.session.visits ?? 0) + 1
      return void res.end(String(req.session.visits))
    }
    return handle(req, res)
  })
})
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`))
