/**
 * Starts each application of examples/platforms as its README says, and sends the README's requests:
 * in the process, then on a Redis of its own. Exits with 1 on any difference.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const root = path.join(import.meta.dirname, '..')
const README = readFileSync(path.join(root, 'examples/platforms/README.md'), 'utf8')
const began = performance.now()
const running = new Set()
let checks = 0

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** The commands of an application, each with what its response must contain. */
function commandsOf(name) {
  const [, block] = new RegExp(`## ${name}\n\n\`\`\`console\n([^]*?)\`\`\``).exec(README)
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((command) => {
      const [line, wanted = ''] = command.split('\n')
      return { line, wanted }
    })
}

/** What curl would send. */
function requestOf(line) {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare)
  const { values, positionals } = parseArgs({
    args: words.slice(1),
    allowPositionals: true,
    options: {
      silent: { type: 'boolean', short: 's' },
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
  const child = spawn(process.execPath, ['scripts/demo.mjs', `platforms/${name}`, ...args], {
    cwd: root,
    env: { ...process.env, REDIS_URL: '', PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  for (let i = 0; i < 600 && !output.includes('http://'); i++) {
    if (child.exitCode !== null) break
    await pause(100)
  }
  const [origin] = /http:\S+/.exec(output) ?? []
  if (!origin) throw new Error(`${name} did not start:\n${output}`)
  return { child, origin }
}

/** Sends a request until its response is the wanted one: work in the background takes its time. */
async function check(origin, { line, wanted }, jar) {
  const { target, method, headers, body, ...options } = requestOf(line)
  const deadline = Date.now() + 10_000
  for (;;) {
    const cookie = options.cookies && jar.cookie ? [['cookie', jar.cookie]] : []
    const init = { method, headers: [...headers, ...cookie], ...(body !== undefined && { body }) }
    const response = await fetch(origin + target, init)
    if (options.jar) [jar.cookie] = response.headers.getSetCookie().map((set) => set.split(';')[0])
    const text = await response.text()
    if (response.ok !== (wanted !== '{}') || !text.includes(wanted)) {
      if (Date.now() < deadline) {
        await pause(200)
        continue
      }
      throw new Error(`${line}\n  got    ${response.status} ${text}\n  wanted ${wanted}`)
    }
    checks++
    return
  }
}

const names = [...README.matchAll(/^## (\S+)$/gm)].map(([, name]) => name)
for (const name of names) {
  for (const args of [[], ['--redis']]) {
    const { child, origin } = await start(name, args)
    const jar = {}
    for (const command of commandsOf(name)) await check(origin, command, jar)
    child.kill('SIGINT')
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`${name} ended with ${code}`)
    console.log(`  ok   ${name} ${args.join(' ')}`)
  }
}
const seconds = ((performance.now() - began) / 1000).toFixed(1)
console.log(`\nplatforms: all ${checks} requests got what the README says, in ${seconds} s`)
