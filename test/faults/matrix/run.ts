/** Runs one fault on one framework against all features at once. Each feature has its own instance. */
import { Redis } from 'ioredis'
import { expect } from 'vitest'
import type { RedisSource } from '../../../src/store/redis.ts'
import { startRedis } from '../../../src/testing.ts'
import { clients, type ClientName } from '../../support/clients.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { timed, until } from '../../support/until.ts'
import type { Asked, Question, Subject } from './feature.ts'
import { features } from './features.ts'
import type { Fault, FaultTarget } from './faults.ts'
import { openSite, type AnyTurnpike, type Ask, type FrameworkName, type Site } from './site.ts'

export const TIMEOUT = 100
export const BUDGET = 150
export const GRACE = 30
export const RECOVERY = 1500
/** How long a fault lasts, in ms. */
const FAULT_DURATION = 1500
/** Pause between two requests of one feature, in ms. */
const REQUEST_INTERVAL = 40

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, REQUEST_INTERVAL))

/** The measurements of one kind of request. */
export interface Cell {
  question: string
  /** All statuses that were answered, ascending. */
  statuses: number[]
  /** The slowest answer in ms, less the time in which this process could not run. */
  slowest: number
  /** By how much the slowest answer exceeded its bound, in ms. */
  late: number
  /** Time from the end of the fault until Redis took part again, in ms, measured as `slowest` is. */
  recovery: number
}

/** A subject under test. Its answers carry what its instance reported. */
interface Application {
  name: string
  subject: Subject
  ask(ask: Ask): Promise<Asked>
}

function openApplication(
  site: Site,
  feature: (typeof features)[number],
  fault: Fault,
  redis: () => RedisSource,
): Application {
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

/** Sends all kinds of requests in turn while the fault lasts. */
async function askDuringFault(
  application: Application,
  fault: Fault,
  cells: Map<Question, Cell>,
): Promise<void> {
  const end = performance.now() + FAULT_DURATION
  while (performance.now() < end) {
    for (const question of application.subject.questions) {
      const answer = await application.ask(question.next())
      const cell = cells.get(question)!
      if (!cell.statuses.includes(answer.status)) cell.statuses.push(answer.status)
      const ms = answer.ms - answer.lost.ms
      const bound = (question.waits === 'once' ? TIMEOUT : BUDGET) + GRACE + answer.lost.spared
      cell.slowest = Math.max(cell.slowest, ms)
      cell.late = Math.max(cell.late, ms - bound)
      // Redis rejects the command at once. Only a timeout, on a loaded machine, is another 503.
      if (fault.kind === 'forbidden' && answer.status === 503) cell.late = Infinity
      else if (!question.rule[fault.kind].includes(answer.status))
        throw new Error(
          `${question.name}: ${answer.status}, not ${question.rule[fault.kind].join(' or ')}: ${answer.body}`,
        )
      if (answer.status === 503)
        expect(Number(answer.headers['retry-after'] ?? 2)).toBeGreaterThan(0)
      await pause()
    }
  }
}

const untilRedisIsUsed = (
  { name, subject: { probe }, ask }: Application,
  ms: number,
): Promise<unknown> =>
  until(
    `${name} uses Redis`,
    async () => {
      if (probe.usesRedis(await ask(probe.next()))) return true
      await pause()
      return false
    },
    ms,
  )

/** Injects `fault` into a running application, then removes it, and returns the measurements. */
export async function runFault(
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
  const target: FaultTarget = { server, proxy, admin }
  try {
    if (early) await fault.inject(target)
    await using site = await openSite(framework)
    const url = `redis://${password && `:${password}@`}127.0.0.1:${proxy.port}`
    const applications = features.map((feature) =>
      openApplication(site, feature, fault, () => clients[client].server(url)),
    )
    const cells = new Map<Question, Cell>()
    for (const { subject } of applications)
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
      for (const { subject, ask } of applications) await subject.prepare?.(ask)
    } else {
      for (const application of applications) await untilRedisIsUsed(application, 10_000)
      // On a loaded machine even a healthy Redis can miss the timeout.
      for (const { subject, ask } of applications)
        for (const { name, rule, next } of subject.questions)
          await until(`${name} succeeds`, async () => {
            const [success] = rule['at times']
            return (await ask(next())).status === success
          })
      // Wait until the writes of the last request have reached Redis.
      await new Promise((resolve) => setTimeout(resolve, 50))
      await fault.inject(target)
    }
    await all(applications, (application) => askDuringFault(application, fault, cells))
    await fault.remove(target)
    await all(applications, async (application) => {
      const { ms, error } = await timed(untilRedisIsUsed(application, 10_000))
      if (error !== undefined) throw error
      for (const question of application.subject.questions) cells.get(question)!.recovery = ms
      if (fault.kind !== 'garbled') await application.subject.expectNoLateEffects?.(application.ask)
    })
    return [...cells.values()].map((cell) => ({
      ...cell,
      statuses: cell.statuses.toSorted((a, b) => a - b),
    }))
  } finally {
    admin.disconnect()
    // A frozen server would not exit.
    server.thaw()
  }
}

/** Runs `work` for each application and throws all failures together. */
async function all(
  applications: readonly Application[],
  work: (application: Application) => Promise<unknown>,
): Promise<void> {
  const outcomes = await Promise.allSettled(applications.map(work))
  const failures = outcomes.flatMap((outcome, i) =>
    outcome.status === 'rejected'
      ? [
          new Error(`${applications[i]!.name}: ${(outcome.reason as Error).message}`, {
            cause: outcome.reason,
          }),
        ]
      : [],
  )
  if (failures.length > 0)
    throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
}
