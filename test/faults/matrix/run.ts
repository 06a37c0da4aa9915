/** One fault, one framework, all features at once: each has its own instance and connections. */
import { Redis } from 'ioredis'
import { expect } from 'vitest'
import type { RedisSource } from '../../../src/store/redis.ts'
import { startRedis } from '../../../src/testing.ts'
import { clients, type ClientName } from '../../support/clients.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import type { Asked, Question, Subject } from './feature.ts'
import { features } from './features.ts'
import type { Fault, Patient } from './faults.ts'
import { openSite, type AnyTurnpike, type Ask, type FrameworkName, type Site } from './site.ts'

export const TIMEOUT = 100
export const BUDGET = 150
export const GRACE = 30
export const RECOVERY = 1500
/** How long Redis is left alone with its fault, in ms. */
const LASTS = 1500
/** Between two requests of one feature, in ms. */
const PACE = 20

/** What was seen of one kind of request. */
export interface Cell {
  question: string
  /** All that it was answered, in order of size. */
  statuses: number[]
  /** The slowest answer in ms, without the time in which this process did not run. */
  slowest: number
  /** By how much an answer was later than it may be, in ms. */
  late: number
  /** From the end of the fault until Redis had its part again, in ms. */
  recovery: number
}

/** A subject under test, with what its instance reported of its requests. */
interface Bed {
  name: string
  subject: Subject
  ask(ask: Ask): Promise<Asked>
}

function makeBed(
  site: Site,
  feature: (typeof features)[number],
  fault: Fault,
  redis: () => RedisSource,
): Bed {
  const open = (): AnyTurnpike =>
    site.turnpike({
      redis: redis(),
      commandTimeout: TIMEOUT,
      requestBudget: BUDGET,
      prefix: `f${features.indexOf(feature)}`,
    })
  const tp = open()
  tp.on('warning', () => {})
  let isUncertain = false
  tp.on('unavailable', ({ uncertain }) => uncertain && (isUncertain = true))
  const subject = feature.open({ tp, site, fault, another: open })
  return {
    name: feature.name,
    subject,
    async ask(ask) {
      isUncertain = false
      const answer = { ...(await site.ask(ask)), uncertain: isUncertain }
      if (fault.kind !== 'garbled') subject.check?.(answer, ask)
      return answer
    },
  }
}

/** Ask all kinds of questions in turn while the fault lasts. */
async function suffer(bed: Bed, fault: Fault, cells: Map<Question, Cell>): Promise<void> {
  const end = performance.now() + LASTS
  while (performance.now() < end) {
    for (const question of bed.subject.questions) {
      const answer = await bed.ask(question.next())
      const cell = cells.get(question)!
      if (!cell.statuses.includes(answer.status)) cell.statuses.push(answer.status)
      const ms = answer.ms - answer.lost.ms
      const bound = (question.waits === 'once' ? TIMEOUT : BUDGET) + GRACE + answer.lost.spared
      cell.slowest = Math.max(cell.slowest, ms)
      cell.late = Math.max(cell.late, ms - bound)
      if (!question.rule[fault.kind].includes(answer.status))
        throw new Error(
          `${question.name}: ${answer.status}, not ${question.rule[fault.kind].join(' or ')}: ${answer.body}`,
        )
      if (answer.status === 503)
        expect(Number(answer.headers['retry-after'] ?? 2)).toBeGreaterThan(0)
      await new Promise((resolve) => setTimeout(resolve, PACE))
    }
  }
}

const untilWell = ({ name, subject: { pulse }, ask }: Bed, ms: number): Promise<unknown> =>
  until(`${name} is well`, async () => pulse.isWell(await ask(pulse.next())), ms)

/** Have `fault` strike an application and heal again. */
export async function endure(
  framework: FrameworkName,
  fault: Fault,
  client: ClientName = 'ioredis 6',
): Promise<Cell[]> {
  const { args = [], password = '', early = false } = fault
  await using server = await startRedis({ args })
  await using proxy = await startFaultProxy(server.port)
  const admin = new Redis({ port: server.port, password, retryStrategy: null, lazyConnect: true })
  admin.on('error', () => {})
  await admin.connect()
  const patient: Patient = { server, proxy, admin }
  try {
    if (early) await fault.strike(patient)
    await using site = await openSite(framework)
    const url = `redis://${password && `:${password}@`}127.0.0.1:${proxy.port}`
    const beds = features.map((feature) =>
      makeBed(site, feature, fault, () => clients[client].server(url)),
    )
    const cells = new Map<Question, Cell>()
    for (const { subject } of beds)
      for (const question of subject.questions) {
        cells.set(question, {
          question: question.name,
          statuses: [],
          slowest: 0,
          late: 0,
          recovery: 0,
        })
      }
    if (early) {
      for (const { subject, ask } of beds) await subject.prepare?.(ask)
    } else {
      for (const bed of beds) await untilWell(bed, 10_000)
      // On a loaded machine a healthy Redis misses the timeout, too.
      for (const { subject, ask } of beds)
        for (const { name, rule, next } of subject.questions)
          await until(`${name} is well`, async () => {
            const [well] = rule['at times']
            return (await ask(next())).status === well
          })
      // The end of the last request has reached Redis, too.
      await new Promise((resolve) => setTimeout(resolve, 50))
      await fault.strike(patient)
    }
    await all(beds, (bed) => suffer(bed, fault, cells))
    await fault.heal(patient)
    const healed = performance.now()
    await all(beds, async (bed) => {
      await untilWell(bed, 10_000)
      const ms = performance.now() - healed
      for (const question of bed.subject.questions) cells.get(question)!.recovery = ms
      if (fault.kind !== 'garbled') await bed.subject.ghosts?.(bed.ask)
    })
    return [...cells.values()].map((cell) => ({
      ...cell,
      statuses: cell.statuses.toSorted((a, b) => a - b),
    }))
  } finally {
    admin.disconnect()
    // What is frozen would not end.
    server.thaw()
  }
}

/** Every feature's failure, not only the first one's. */
async function all(beds: readonly Bed[], work: (bed: Bed) => Promise<unknown>): Promise<void> {
  const outcomes = await Promise.allSettled(beds.map(work))
  const failures = outcomes.flatMap((outcome, i) =>
    outcome.status === 'rejected'
      ? [
          new Error(`${beds[i]!.name}: ${(outcome.reason as Error).message}`, {
            cause: outcome.reason,
          }),
        ]
      : [],
  )
  if (failures.length > 0)
    throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
}
