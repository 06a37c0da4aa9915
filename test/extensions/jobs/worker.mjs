// A worker process: `worker.mjs <redis url> <options of work() as JSON>`. It says what it does.
import { jobs } from 'turnpike/jobs'
import { turnpike } from 'turnpike/node'

const [url, options] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '10s' })
const queue = jobs(tp)
const say = (type, id) => process.connected && process.send({ type, id, at: Date.now() })
const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    // A process that was frozen may learn that its lease is lost before it begins to sleep.
    signal.throwIfAborted()
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason)
    })
  })

queue.define('count', { backoff: { delay: 50 } }, async (_payload, { id }) => say('count', id))
queue.define('slow', { retries: 0 }, async ({ ms }, { id, progress, signal, attempt }) => {
  say('start', id)
  await progress({ attempt, pid: process.pid })
  await sleep(ms, signal)
  say('end', id)
  return process.pid
})
await queue.work(JSON.parse(options))
say('ready')
process.on('disconnect', () => process.exit())
