import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { startRedis, type RedisServer } from '../../../src/testing.ts'

const worker = fileURLToPath(new URL('./holder.mjs', import.meta.url))

interface Result {
  entries: number
  most: number
  stale: number
  /** Commands that the locking Redis carried out meanwhile. */
  commands: number
}

async function run(kind: string, processes: number, each: number, ms: number): Promise<Result> {
  await using locks = await startRedis()
  await using effects = await startRedis()
  const children = Array.from({ length: processes }, () =>
    fork(worker, [locks.url, effects.url, kind, String(each), String(ms)]),
  )
  onTestFinished(() => children.forEach((child) => child.kill('SIGKILL')))
  await Promise.all(children.map((child) => once(child, 'message')))
  await locks.send('CONFIG', 'RESETSTAT')
  const done = children.map(async (child) => {
    child.send('go')
    const [count] = (await once(child, 'message')) as [number]
    return count
  })
  const counts = await Promise.all(done)
  const of = async (key: string): Promise<number> =>
    Number(/\r\n(\d+)\r\n/.exec(await effects.send('GET', key))?.[1] ?? 0)
  const result = {
    entries: await of('entries'),
    most: await of('most'),
    stale: await of('stale'),
    commands: await scriptsOf(locks),
  }
  expect(result.entries).toBe(counts.reduce((sum, count) => sum + count, 0))
  expect(await of('inside')).toBe(0)
  return result
}

/** How many scripts it was asked to run. */
async function scriptsOf(redis: RedisServer): Promise<number> {
  const stats = await redis.send('INFO', 'commandstats')
  return [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0,
  )
}

test('8 processes on one lock for 5 s: never two holders, and the fencing tokens only grow', async () => {
  const { entries, most, stale, commands } = await run('lock', 8, 3, 5000)
  console.log(
    `8 processes x 3 callers, one lock, 5 s: ${entries} holders, ${(commands / entries).toFixed(1)} scripts each`,
  )
  expect(most).toBe(1)
  expect(stale).toBe(0)
  expect(entries).toBeGreaterThan(50)
}, 60_000)

test('8 processes on one lock in fair order: never two holders', async () => {
  const { entries, most, stale, commands } = await run('fair', 8, 3, 2000)
  console.log(
    `8 processes x 3 callers, fair, 2 s: ${entries} holders, ${(commands / entries).toFixed(1)} scripts each`,
  )
  expect(most).toBe(1)
  expect(stale).toBe(0)
}, 60_000)

test('a semaphore of 7, 300 parallel over 6 processes: exactly 7 inside at any time', async () => {
  const { entries, most, commands } = await run('semaphore', 6, 50, 0)
  console.log(
    `semaphore of 7, 300 callers in 6 processes: ${(commands / entries).toFixed(1)} scripts each`,
  )
  expect(entries).toBe(300)
  expect(most).toBe(7)
}, 60_000)

test('1,000 waiters over 4 processes finish without a thundering herd', async () => {
  const { entries, most, commands } = await run('lock', 4, 250, 0)
  console.log(
    `1,000 waiters, one lock, 4 processes: ${(commands / entries).toFixed(2)} scripts for each release`,
  )
  expect(entries).toBe(1000)
  expect(most).toBe(1)
  // One to take, one to give back, and at most one attempt of each other process.
  expect(commands / entries).toBeLessThan(6)
}, 120_000)
