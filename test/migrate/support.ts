/** The same requests to an application as it was and as it is, so that their answers can be compared. */
import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { parseList, type BareItem } from 'structured-headers'
import request, { type Response } from 'supertest'
import { expect, onTestFinished } from 'vitest'
import type { RedisServer } from '../../src/testing.ts'

export type App = RequestListener
export type Asked = Record<string, string>

/** One request after another. */
export async function ask(app: App, requests: readonly Asked[]): Promise<Response[]> {
  const answers: Response[] = []
  for (const headers of requests) answers.push(await request(app).get('/').set(headers))
  return answers
}

/** `count` times the same request. */
export const times = (count: number, headers: Asked = {}): Asked[] =>
  Array.from({ length: count }, () => headers)

export const statuses = (answers: readonly Response[]): number[] =>
  answers.map(({ status }) => status)

/** Returns the status and the X-RateLimit fields of each response. */
export const limitFields = (answers: readonly Response[]): (string | number | undefined)[][] =>
  answers.map(({ status, headers }) => [
    status,
    headers['x-ratelimit-limit'],
    headers['x-ratelimit-remaining'],
  ])

/** How far apart two fields are at each step, at most. */
export function apart(
  field: string,
  before: readonly Response[],
  after: readonly Response[],
): number {
  const gaps = before.map(({ headers }, i) =>
    Math.abs(Number(headers[field]) - Number(after[i]!.headers[field])),
  )
  return Math.max(...gaps.filter((gap) => !Number.isNaN(gap)))
}

/** A field of draft 8 or later: its items, with their parameters. */
export const read = (
  field: string | undefined,
): { name: BareItem; [parameter: string]: BareItem }[] =>
  parseList(field ?? '').map(([name, parameters]) => ({
    name,
    ...Object.fromEntries(parameters),
  }))

/** The answer, or 'nothing' after `ms`. */
export async function within(ms: number, app: App): Promise<Response | 'nothing'> {
  const pending = request(app)
    .get('/')
    .then(
      (answer) => answer,
      () => 'nothing' as const,
    )
  return await Promise.race([pending, sleep(ms, 'nothing' as const)])
}

/** Asks a few times: the status, and how long the quickest and the slowest answer took. */
export async function timed(
  app: App,
  attempts = 4,
): Promise<{ status: number; quickest: number; slowest: number }> {
  const took: number[] = []
  let status = 0
  for (let i = 0; i < attempts; i++) {
    const start = performance.now()
    status = (await request(app).get('/')).status
    took.push(performance.now() - start)
  }
  return { status, quickest: Math.min(...took), slowest: Math.max(...took) }
}

/** Within 130 ms, by which a busy machine may multiply it once in a while. */
export function expectPrompt({
  status,
  quickest,
  slowest,
}: Awaited<ReturnType<typeof timed>>): void {
  expect(status).toBe(200)
  expect(quickest).toBeLessThan(130)
  expect(slowest).toBeLessThan(600)
}

/** How long a client waits, and for what. */
export interface ClientOptions {
  enableOfflineQueue?: boolean
  maxRetriesPerRequest?: number
  lazyConnect?: boolean
  retryStrategy?: () => number
}

/** A client as an application would make it. */
export async function connect(server: RedisServer, options: ClientOptions = {}): Promise<Redis> {
  const client = new Redis(server.port, server.host, options)
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  if (options.lazyConnect !== true) await new Promise((resolve) => client.once('ready', resolve))
  return client
}
