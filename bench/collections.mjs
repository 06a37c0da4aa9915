/**
 * What counters cost: CPU of an `add()`, and commands for many of them, beside HINCRBY for each:
 * `node bench/collections.mjs`.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { openLab, versionOf } from './lab.mjs'
import { fixed, median, print } from './table.mjs'

const ADDS = 100_000
const ITEMS = 100
const ROUNDS = 5

const lab = await openLab(process.execPath)
const dist = (name) => import(pathToFileURL(path.join(lab.folder, 'dist', `${name}.mjs`)))
const [{ turnpike }, { counters }] = [await dist('node'), await dist('collections')]
const tp = turnpike({ redis: lab.redis.url, commandTimeout: '10s', requestBudget: '10s' })
const client = new Redis(lab.redis.url)
const stats = counters(tp, 'bench', { flush: '1h' })

const KINDS = [
  [
    'counters(), one flush',
    async () => {
      for (let i = 0; i < ADDS; i++) stats.add(i % ITEMS, { clicks: 1 })
      await stats.flush()
    },
  ],
  [
    'HINCRBY for each',
    async () => {
      for (let i = 0; i < ADDS; i += 1000)
        await Promise.all(
          Array.from({ length: 1000 }, (_, n) =>
            client.hincrby(`plain:${(i + n) % ITEMS}`, 'clicks', 1),
          ),
        )
    },
  ],
]

async function measure(work) {
  await lab.forget()
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  const commands = await lab.commands()
  const sent = commands.filter(({ name }) => /^(evalsha|hincrby)$/.test(name))
  return {
    cpu: (user + system) / ADDS,
    commands: sent.reduce((sum, { calls }) => sum + calls, 0),
  }
}

try {
  await tp.ready()
  const rows = []
  for (const [title, work] of KINDS) {
    const rounds = []
    for (let i = 0; i <= ROUNDS; i++) rounds.push(await measure(work))
    // In the first round V8 is still at work.
    const [, ...counted] = rounds
    const cpu = counted.map((each) => each.cpu)
    const commands = String(median(counted.map((each) => each.commands)))
    rows.push([title, commands, fixed(median(cpu), 2), fixed(Math.min(...cpu), 2)])
  }
  print(
    `### Redis ${lab.redisVersion}, Node ${versionOf(process.execPath)}: ${ADDS} increments of ${ITEMS} items, medians of ${ROUNDS} rounds`,
    ['', 'commands', 'CPU us for each', 'least'],
    rows,
  )
} finally {
  client.disconnect()
  await tp.close()
  await lab.close()
}
