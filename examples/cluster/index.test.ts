import { afterAll, beforeAll, expect, it } from 'vitest'
// @ts-expect-error JavaScript without types
import { start } from './index.mjs'

let example: { urls: string[]; made(): number; stop(): Promise<void> }
beforeAll(async () => {
  example = await start()
})
afterAll(() => example.stop())

/** So many requests at once, over all processes in turn. */
const statuses = async (path: string, count: number): Promise<number[]> =>
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const { status } = await fetch(`${example.urls[i % example.urls.length]}${path}`)
      return status
    }),
  )

it('makes a report once for 100 requests to four processes', async () => {
  expect(new Set(await statuses('/report', 100))).toEqual(new Set([200]))
  expect(example.made()).toBe(1)
})

it('admits exactly as many as the limit says, over four processes', async () => {
  const all: number[] = []
  for (let i = 0; i < 6; i++) all.push(...(await statuses('/limited', 25)))
  expect(all.filter((status) => status === 200)).toHaveLength(100)
  expect(all.filter((status) => status === 429)).toHaveLength(50)
})
