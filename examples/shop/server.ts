/** Serves the shop: PORT (default 3000) on 127.0.0.1, over REDIS_URL or in this process. */
import { once } from 'node:events'
import { turnpike } from 'turnpike/express'
import { createShop } from './app.ts'
import { commands } from './commands.ts'
import { traceShop } from './tracing.ts'

const ended = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const url = process.env['REDIS_URL']
const tp = turnpike({ redis: url || 'memory', prefix: 'shop' })
const port = Number(process.env['PORT'] ?? 3000)
const server = createShop(tp, { spans: traceShop() }).listen(port, '127.0.0.1')
await once(server, 'listening')

const { port: actual } = server.address() as { port: number }
const origin = `http://127.0.0.1:${actual}`
const reached = await tp.ready('1s').then(
  () => '',
  () => ' (not reached yet: limits are counted in this process until it is)',
)
console.log(`
turnpike demo: ${origin}
store: ${url ? hostOf(url) + reached : 'in-process (set REDIS_URL for Redis; data is lost on exit)'}

Open it in a browser, or try:
${commands(origin)
  .map(({ curl }) => `  ${curl}`)
  .join('\n')}

Ctrl-C ends it.`)

await ended
server.close()
// Connections that browsers keep ready are not waited for.
setTimeout(() => server.closeAllConnections(), 500).unref()
await once(server, 'close')
// What goes on for longer is aborted. An invoice then is made by the next process.
await tp.close({ drain: '1s' })

/** The address without user and password. */
function hostOf(url: string): string {
  if (!URL.canParse(url)) return url
  const { protocol, host } = new URL(url)
  return `${protocol}//${host}`
}
