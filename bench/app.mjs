/**
 * The application of one variant, in a process of its own: `node app.mjs <file> <name> <redis url>`.
 * It reports its port and then accepts these messages:
 *   mark      what this process has used so far
 *   heap      how much of its heap is in use, after a collection
 *   profile   start a CPU profile; the second time, end it and return it
 */
import { subscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { Session } from 'node:inspector/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const [file, name, url] = process.argv.slice(2)

// A request that turnpike answered without Redis would make it look fast.
let degraded = 0
subscribe('turnpike:unavailable', () => degraded++)

const variant = await import(pathToFileURL(path.resolve(file)))
const serve = name ? variant.variants[name].serve : variant.default
const server = createServer(await serve({ url }))
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))

let session
async function profile() {
  if (!session) {
    session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: 100 })
    await session.post('Profiler.start')
    return {}
  }
  const { profile } = await session.post('Profiler.stop')
  session.disconnect()
  session = undefined
  return profile
}

let collect
function heap() {
  setFlagsFromString('--expose-gc')
  collect ??= runInNewContext('gc')
  collect()
  collect()
  return { used: process.memoryUsage().heapUsed }
}

const answers = {
  mark() {
    const { user, system } = process.cpuUsage()
    return { cpu: user + system, degraded, version: process.version }
  },
  heap,
  profile,
}

process.on('message', async (name) => process.send(await answers[name]()))
process.on('disconnect', () => process.exit())
