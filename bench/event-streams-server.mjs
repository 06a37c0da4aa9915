/**
 * A process with event streams: `event-streams-server.mjs <turnpike | better-sse> <folder> <redis url>`.
 * It answers messages of its parent: `{ publish: n, atOnce }` and `{ memory: true }`.
 */
import { createServer } from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [, , kind, folder, url] = process.argv
const now = () => performance.timeOrigin + performance.now()

const kinds = {
  async turnpike() {
    const dist = (name) => import(pathToFileURL(path.join(folder, 'dist', `${name}.mjs`)))
    const [{ turnpike }, { channels, sse }] = [await dist('node'), await dist('realtime')]
    const tp = turnpike({ redis: url, commandTimeout: '10s', requestBudget: '10s' })
    await tp.ready()
    const live = channels(tp)
    return {
      serve: sse(live, { topics: () => 'news' }),
      publish: (data) => live.publish('news', data),
    }
  },
  // One process alone, without Redis, history and positions.
  async 'better-sse'() {
    const { createChannel, createSession } = await import('better-sse')
    const channel = createChannel()
    return {
      serve: async (req, res) => channel.register(await createSession(req, res)),
      publish: (data) => channel.broadcast(data),
    }
  },
}

const { publish, serve } = await kinds[kind]()
const server = createServer((req, res) => void serve(req, res, () => res.writeHead(404).end()))
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))

/** Publishes messages, so many at once. */
async function publishMany(count, atOnce) {
  let left = count
  const start = process.cpuUsage()
  const began = now()
  const work = async () => {
    while (left-- > 0) await publish({ at: now(), text: 'x'.repeat(100) })
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return { ms: now() - began, start }
}

let cpu
process.on('message', async (message) => {
  if (message.cpu) {
    const { user, system } = process.cpuUsage(cpu)
    return process.send({ cpuMs: (user + system) / 1000 })
  }
  if (message.memory) {
    for (let i = 0; i < 3; i++) globalThis.gc()
    const { heapUsed, rss } = process.memoryUsage()
    const timers = process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
    return process.send({ heapUsed, rss, timers })
  }
  const { ms, start } = await publishMany(message.publish, message.atOnce)
  cpu = start
  return process.send({ ms })
})
