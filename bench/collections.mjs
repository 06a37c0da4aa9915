/**
 * What counters and flags cost: CPU of an `add()` and of a check, and commands for many of them, beside
 * a command for each: `node bench/collections.mjs`.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { openLab, versionOf } from './lab.mjs'
import { fixed, median, print } from './table.mjs'

const ADDS = 100_000
const CHECKS = 1_000_000
/** Checks by a command each are slower. */
const READS = 100_000
const AT_ONCE = 1000
const ITEMS = 100
const ROUNDS = 5

const lab = await openLab(process.execPath)
const dist = (name) => import(pathToFileURL(path.join(lab.folder, 'dist', `${name}.mjs`)))
const [{ turnpike }, { counters }, { flags }] = await Promise.all(
  ['node', 'collections', 'flags'].map(dist),
)
const tp = turnpike({ redis: lab.redis.url, commandTimeout: '10s', requestBudget: '10s' })
const client = new Redis(lab.redis.url)
const stats = counters(tp, 'bench', { flush: '1h' })

const feature = flags(tp, {
  defaults: { none: false, on: false, share: false, listed: false, rules: false },
})
const users = Array.from({ length: 1000 }, (_, i) => `user-${i}`)

/** Sends a command for each of many, some at a time. */
async function each(count, send) {
  for (let i = 0; i < count; i += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => send(i + n)))
}

let enabled = 0
/** Checks a flag for one user after the other. The result is used, so that V8 cannot leave it out. */
const checks = (name) => () => {
  for (let i = 0; i < CHECKS; i++)
    if (feature.enabled(name, { user: users[i % users.length], organisation: 'acme' })) enabled++
}

const ADDING = [
  [
    'counters(), one flush',
    'evalsha',
    ADDS,
    async () => {
      for (let i = 0; i < ADDS; i++) stats.add(i % ITEMS, { clicks: 1 })
      await stats.flush()
    },
  ],
  [
    'HINCRBY for each',
    'hincrby',
    ADDS,
    () => each(ADDS, (i) => client.hincrby(`plain:${i % ITEMS}`, 'clicks', 1)),
  ],
]

const CHECKING = [
  ['no rule: the default', 'evalsha', CHECKS, checks('none')],
  ['on for all', 'evalsha', CHECKS, checks('on')],
  ['20 % of the users', 'evalsha', CHECKS, checks('share')],
  ['1,000 users by ID', 'evalsha', CHECKS, checks('listed')],
  ['organisation, then plan, then 20 %', 'evalsha', CHECKS, checks('rules')],
  ['GET for each', 'get', READS, () => each(READS, () => client.get('plain:flag'))],
]

/** @param command what is counted: Redis counts what scripts call, too */
async function measure(command, count, work) {
  await lab.forget()
  const start = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(start)
  const commands = await lab.commands()
  const sent = commands.filter(({ name }) => name === command)
  return {
    cpu: (user + system) / count,
    commands: sent.reduce((sum, { calls }) => sum + calls, 0),
  }
}

/** @param factor from microseconds to the unit of the table */
async function rowsOf(kinds, factor) {
  const rows = []
  for (const [title, command, count, work] of kinds) {
    const rounds = []
    for (let i = 0; i <= ROUNDS; i++) rounds.push(await measure(command, count, work))
    // In the first round V8 is still at work.
    const [, ...counted] = rounds
    const cpu = counted.map((each) => each.cpu * factor)
    const commands = median(counted.map((each) => each.commands))
    const saved = `${fixed(100 * (1 - commands / count), 2)} %`
    rows.push([title, String(commands), saved, fixed(median(cpu), 2), fixed(Math.min(...cpu), 2)])
  }
  return rows
}

try {
  await tp.ready()
  const where = `### Redis ${lab.redisVersion}, Node ${versionOf(process.execPath)}`
  print(
    `${where}: ${ADDS} increments of ${ITEMS} items, medians of ${ROUNDS} rounds`,
    ['', 'commands', 'saved', 'CPU us for each', 'least'],
    await rowsOf(ADDING, 1),
  )
  await feature.set('on', true)
  await feature.set('share', { percentage: 20 })
  await feature.set('listed', { users })
  await feature.set('rules', [{ organisations: ['other'] }, { plans: ['pro'] }, { percentage: 20 }])
  await client.set('plain:flag', '1', 'EX', 3600)
  // What the process asks at an interval is among its commands.
  print(
    `${where}: ${CHECKS} checks of a flag, ${READS} by GET, medians of ${ROUNDS} rounds`,
    ['', 'commands', 'saved', 'CPU ns for each', 'least'],
    await rowsOf(CHECKING, 1000),
  )
  if (enabled === 0) throw new Error('No flag was ever on.')
} finally {
  client.disconnect()
  await tp.close()
  await lab.close()
}
