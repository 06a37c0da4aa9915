/**
 * Starts each example that a README has requests for, and sends them: in the process, and those of
 * examples/platforms on a Redis of its own, too. Exits with 1 on any difference.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { examplesWithRequests, requestsOf } from './example-requests.mjs'

const root = path.join(import.meta.dirname, '..')
/** The line of a server that listens. */
const ORIGIN = /^http:\/\/127\.0\.0\.1:\d+/m
const began = performance.now()
const running = new Set()
let checks = 0

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** What curl would send. */
function requestOf(line) {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare)
  const { values, positionals } = parseArgs({
    args: words.slice(1),
    allowPositionals: true,
    options: {
      silent: { type: 'boolean', short: 's' },
      include: { type: 'boolean', short: 'i' },
      jar: { type: 'string', short: 'c' },
      cookies: { type: 'string', short: 'b' },
      header: { type: 'string', short: 'H', multiple: true, default: [] },
      data: { type: 'string', short: 'd' },
      request: { type: 'string', short: 'X' },
    },
  })
  const { pathname, search } = new URL(positionals[0])
  const method = values.request ?? (values.data === undefined ? 'GET' : 'POST')
  const headers = values.header.map((field) => field.split(': '))
  return { target: pathname + search, method, headers, body: values.data, ...values }
}

async function start(name, args) {
  const child = spawn(process.execPath, ['scripts/demo.mjs', name, ...args], {
    cwd: root,
    env: { ...process.env, REDIS_URL: '', PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  for (let i = 0; i < 600 && !ORIGIN.test(output); i++) {
    if (child.exitCode !== null) break
    await pause(100)
  }
  const [origin] = ORIGIN.exec(output) ?? []
  if (!origin) throw new Error(`${name} did not start:\n${output}`)
  return { child, origin }
}

/** Sends a request. fetch would not send another Host. */
function send(url, { method, headers, body }) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: Object.fromEntries(headers) }, (res) => {
      const { statusCode: status, headers: fields } = res
      let text = ''
      res.setEncoding('utf8').on('data', (part) => (text += part))
      res.on('end', () => resolve({ status, text, cookies: fields['set-cookie'] ?? [] }))
    })
    sent.on('error', reject).end(body)
  })
}

/** Sends a request until its response is the wanted one: work in the background takes its time. */
async function check(origin, { line, wanted }, jar) {
  const { target, method, headers, body, ...options } = requestOf(line)
  const deadline = Date.now() + 10_000
  for (;;) {
    const cookie = options.cookies && jar.cookie ? [['cookie', jar.cookie]] : []
    const sent = { method, headers: [...headers, ...cookie], body }
    const { status, text, cookies } = await send(origin + target, sent)
    if (options.jar) [jar.cookie] = cookies.map((set) => set.split(';')[0])
    const [, code] = /^HTTP\/1\.1 (\d+)/.exec(wanted) ?? []
    const isWanted = code
      ? status === Number(code)
      : status < 400 === (wanted !== '{}') && text.includes(wanted)
    if (!isWanted) {
      if (Date.now() < deadline) {
        await pause(200)
        continue
      }
      throw new Error(`${line}\n  got    ${status} ${text}\n  wanted ${wanted}`)
    }
    checks++
    return
  }
}

/** keep-your-stack has an ioredis client of its own. */
const runsOf = (name) => {
  if (name === 'keep-your-stack') return [['--redis']]
  return name.startsWith('platforms/') ? [[], ['--redis']] : [[]]
}

for (const name of examplesWithRequests()) {
  for (const args of runsOf(name)) {
    const { child, origin } = await start(name, args)
    const jar = {}
    for (const request of requestsOf(name)) await check(origin, request, jar)
    child.kill('SIGINT')
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`${name} ended with ${code}`)
    console.log(`  ok   ${name} ${args.join(' ')}`)
  }
}
const seconds = ((performance.now() - began) / 1000).toFixed(1)
console.log(`\nexamples: all ${checks} requests got what their README says, in ${seconds} s`)
