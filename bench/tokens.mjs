/**
 * What one-time codes and refresh tokens cost beside the recipe that applications write themselves,
 * GET and DEL: `node bench/tokens.mjs`. Trips and commands of one call, CPU of this process and of
 * Redis, and how many of 100 parallel uses of one token succeed.
 */
import { randomBytes, randomInt } from 'node:crypto'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { openLab, versionOf } from './lab.mjs'
import { fixed, median, print } from './table.mjs'

const CALLS = 20_000
const AT_ONCE = 64
const ROUNDS = 5
const SERIAL = 200
const PARALLEL = 100

const lab = await openLab(process.execPath)
const dist = (name) => import(pathToFileURL(path.join(lab.folder, 'dist', `${name}.mjs`)))
const [{ turnpike }, { oneTimeTokens, refreshTokens }] = [await dist('node'), await dist('tokens')]
const open = (url) => turnpike({ redis: url, commandTimeout: '5s', requestBudget: '5s' })
const [near, distant] = [open(lab.redis.url), open(lab.distantUrl)]
const [plainNear, plainDistant] = [new Redis(lab.redis.url), new Redis(lab.distantUrl)]

/** The recipe: the code is the value, and whoever reads it first deletes it. */
const plainCode = (client) => ({
  async issue(subject) {
    const code = String(randomInt(1_000_000)).padStart(6, '0')
    await client.set(`otp:${subject}`, code, 'EX', 900)
    return code
  },
  async use(subject, code) {
    if ((await client.get(`otp:${subject}`)) !== code) return false
    await client.del(`otp:${subject}`)
    return true
  },
})

const plainRefresh = (client) => {
  const issue = async (user) => {
    const token = randomBytes(32).toString('base64url')
    await client.set(`refresh:${token}`, user, 'EX', 604_800)
    return token
  }
  return {
    issue,
    async use(_subject, token) {
      const user = await client.get(`refresh:${token}`)
      if (user === null) return false
      await client.del(`refresh:${token}`)
      await issue(user)
      return true
    },
  }
}

const succeeds = (call) =>
  call.then(
    () => true,
    () => false,
  )
const code = (tp) => {
  const tokens = oneTimeTokens(tp, {
    purpose: 'bench',
    format: 'digits:6',
    cooldown: 0,
    pepper: 'x'.repeat(32),
  })
  return {
    issue: async (subject) => (await tokens.issue(subject)).code,
    use: (subject, code) => succeeds(tokens.consume(subject, code)),
  }
}
const refresh = (tp) => {
  const tokens = refreshTokens(tp, { grace: 0 })
  return {
    issue: async (user) => (await tokens.issue(user)).token,
    use: (_subject, token) => succeeds(tokens.rotate(token)),
  }
}

const KINDS = [
  ['one-time code, used', 'turnpike', code, near, distant],
  ['one-time code, used', 'GET, DEL', plainCode, plainNear, plainDistant],
  ['refresh token, exchanged', 'turnpike', refresh, near, distant],
  ['refresh token, exchanged', 'GET, DEL, SET', plainRefresh, plainNear, plainDistant],
]

let subjects = 0
const issueMany = async (tokens, count) => {
  const issued = []
  for (let i = 0; i < count; i += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - i) }, async () => {
      const subject = `user${++subjects}`
      return [subject, await tokens.issue(subject)]
    })
    issued.push(...(await Promise.all(batch)))
  }
  return issued
}

async function useAll(tokens, issued, atOnce) {
  for (let i = 0; i < issued.length; i += atOnce) {
    const uses = issued.slice(i, i + atOnce).map((each) => tokens.use(...each))
    if ((await Promise.all(uses)).includes(false)) throw new Error('A right token was refused')
  }
}

async function tripsOf(tokens) {
  await useAll(tokens, await issueMany(tokens, 50), 1)
  const issued = await issueMany(tokens, SERIAL)
  await lab.proxy(0)
  await useAll(tokens, issued, 1)
  const { trips, commands } = await lab.proxy(0)
  return { trips: trips / SERIAL, commands: commands / SERIAL }
}

/** Of 100 uses of one token at once, so many succeed. */
async function wins(tokens) {
  const [each] = await issueMany(tokens, 1)
  const uses = await Promise.all(Array.from({ length: PARALLEL }, () => tokens.use(...each)))
  return uses.filter(Boolean).length
}

async function redisCpu() {
  const info = await lab.redis.send('INFO', 'cpu')
  const [user, system] = ['user', 'sys'].map((kind) =>
    Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)[1]),
  )
  return (user + system) * 1e6
}

/** CPU of one round: of this process and of Redis, in us a use. */
async function cpuOf(tokens) {
  const issued = await issueMany(tokens, CALLS)
  const before = await redisCpu()
  const start = process.cpuUsage()
  await useAll(tokens, issued, AT_ONCE)
  const { user, system } = process.cpuUsage(start)
  return { own: (user + system) / CALLS, redis: ((await redisCpu()) - before) / CALLS }
}

try {
  await Promise.all([near.ready(), distant.ready()])
  const rounds = KINDS.map(() => [])
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [i, [, , create, connection]] of KINDS.entries()) {
      const measured = await cpuOf(create(connection))
      // In the first one V8 is still at work.
      if (round > 0) rounds[i].push(measured)
    }
    await lab.empty()
  }
  const rows = []
  for (const [i, [title, by, create, connection, far]] of KINDS.entries()) {
    const { trips, commands } = await tripsOf(create(far))
    rows.push([
      `${title}, ${by}`,
      fixed(trips, 2),
      fixed(commands, 2),
      fixed(median(rounds[i].map(({ own }) => own)), 1),
      fixed(Math.min(...rounds[i].map(({ own }) => own)), 1),
      fixed(median(rounds[i].map(({ redis }) => redis)), 1),
      String(await wins(create(connection))),
    ])
  }
  print(
    `### Redis ${lab.redisVersion}, Node ${versionOf(process.execPath)}: one use, medians of ${ROUNDS} rounds of ${CALLS}, ${AT_ONCE} at once`,
    [
      '',
      'trips',
      'commands',
      'CPU us',
      'least',
      'us of CPU in Redis',
      `of ${PARALLEL} at once succeed`,
    ],
    rows,
  )
} finally {
  for (const client of [plainNear, plainDistant]) client.disconnect()
  await Promise.all([near.close(), distant.close()])
  await lab.close()
}
