/** What must hold once all hostile connections have ended. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/until.ts'
import { seedsByAddress } from './client.ts'
import { send } from './credentials.ts'
import type { Application } from './process.ts'

/** What a process holds. */
export interface Held {
  listeners: number
  timers: number
  /** Entries of maps and sets, by the class or line that made them. */
  entries: Record<string, number>
  /** Live objects by class. */
  objects: Record<string, number>
  heap: number
}

/**
 * What the application holds once all connections have ended and Redis is well.
 * @param openAnyway returns the seeds of connections that stay open without turnpike, too
 */
export async function settled(
  application: Application,
  openAnyway: (seeds: readonly number[]) => Promise<number[]>,
  before?: Held,
): Promise<Held> {
  const isOver = async (): Promise<boolean> => {
    // To count objects stops the process for longer than to serve a request.
    await sleep(50)
    return await application.ask<boolean>('isOver')
  }
  await until('all connections have ended, and Redis is well', isOver, 60_000).catch(
    async (error) => {
      const open = await application.ask<string[]>('open')
      if (open.length === 0) {
        expect(await application.ask('status'), 'Redis is well').toEqual([])
        throw error
      }
      const kept = await openAnyway(open.map((from) => seedsByAddress.get(from)!))
      const ours = open.filter((from) => !kept.includes(seedsByAddress.get(from)!))
      const seeds = ours.map((from) => `${from}: seed ${seedsByAddress.get(from)}`)
      expect(seeds, 'connections that are still open, and are closed without turnpike').toEqual([])
      console.log(`also open without turnpike: ${open.join(', ')}, of the seeds ${kept.join(', ')}`)
      await application.ask('cut')
      await until('they are closed', isOver)
    },
  )
  let held = await application.ask<Held>('held')
  for (let i = 0; i < 10 && leaksOf(before ?? held, held).length > 0; i++) {
    await sleep(300)
    held = await application.ask<Held>('held')
  }
  expect(leaksOf(before ?? held, held), 'what is held though all connections have ended').toEqual(
    [],
  )
  return held
}

/** Collections that remember what clients sent, within a bound of their own: see docs/invariants.md. */
const BOUNDED =
  /^(Beat|BoundedMap|DenyCache|DistinctWarnings|FeatureCounts(\.durations)?|guardEvents|KeyUses|KnownKeys|Leases|LocalInvalidationLog|MemoryStore|MissLimit|NearCache|NearSessions|RecentlyUsed|RefusalSketch|createHeaderWriter)$/
/** Collections that are empty when no request and no call is in progress. */
const IN_PROGRESS =
  /^(ApiKeyEngine|BackgroundRefreshes|ConcurrencyLimit|ConnectionDeferral|CounterBuffer|FillLeases|LargeValues|LeaseEngine|PendingCalls|Readiness|SingleFlight|TurnQueue|Waiters)$/
/** Records of the application under attack itself. */
const OWN = /^(Records|extensionsOf)$/
/** Objects of these classes stand for many things. What holds them is counted. */
const GENERAL =
  /^(Array|ArrayBuffer|Buffer|Error|AsyncFunction|DurationHistogram|Float64Array|Function|Immediate|Object|StoreUnavailable|String|TimersList)$/

/** What the last requests may leave until the next ones come. A leak grows with connections. */
const LAST = 20
/** Node keeps the parsers of connections for the next ones, as many as there were at one time. */
const POOLED = /^HTTPParser$/
const POOL = 100

/** Returns what there is more of than before. */
function leaksOf(before: Held, now: Held): string[] {
  const leaks: string[] = []
  const compare = (name: string, was: number, is: number, tolerance: number): void => {
    if (is > was + tolerance) leaks.push(`${name}: ${was} -> ${is}`)
  }
  compare('listeners', before.listeners, now.listeners, 0)
  compare('timers', before.timers, now.timers, 0)
  for (const [site, count] of Object.entries(now.entries))
    if (IN_PROGRESS.test(site)) compare(`entries of ${site}`, 0, count, 0)
    else if (!BOUNDED.test(site) && !OWN.test(site))
      compare(`entries of ${site}`, before.entries[site] ?? 0, count, LAST)
  for (const [name, count] of Object.entries(now.objects))
    if (!GENERAL.test(name)) {
      const tolerance = POOLED.test(name) ? POOL : LAST
      compare(`objects of ${name}`, before.objects[name] ?? 0, count, tolerance)
    }
  return leaks
}

/** Expects that every permit and every lock can be had again, by the end of a lost lease at the latest. */
export async function expectFree(ports: Readonly<Record<string, number>>): Promise<void> {
  const names = Object.keys(ports).filter((name) => !name.includes('HTTP/2'))
  // One after the other: some share what they store.
  for (const name of names) {
    let statuses: number[] = []
    const isFree = async (): Promise<boolean> => {
      const targets = [...Array.from({ length: 5 }, () => '/places'), '/exclusive', '/lock']
      const answers = await Promise.all(targets.map((each) => send(ports[name]!, 'GET', each)))
      statuses = answers.map(({ status }) => status)
      return statuses.every((status) => status === 200)
    }
    // Redis may be out of reach of a busy machine for a while. A lost permit is held for ten minutes.
    await until('all is free', isFree, 20_000).catch(() => {
      expect(statuses, `${name}: five permits and the locks are free`).toEqual([])
    })
  }
}
