/** The request's budget is for what a request waits for on its way, not for what its handler calls. */
import { expect, test, vi } from 'vitest'
import type { Decision, Limiter } from '../../../src/index.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'

test.each(apps)('$name: calls of a handler have the command timeout alone', async ({ start }) => {
  const store = testStore()
  const run = vi.spyOn(store, 'run')
  const budgets = (): unknown[] =>
    run.mock.calls.splice(0).map(([, , , budget]: readonly unknown[]) => budget)
  const inHandler: unknown[] = []
  let onItsWay: unknown[] = []
  const app = start({
    options: { store },
    mount: (tp) => [tp.rateLimit({ name: 'l', limit: 50, window: '1m' })],
    async handle(native) {
      onItsWay = budgets()
      const decision: Decision = native.rateLimit ?? native.state.rateLimit
      const limiter: Limiter = app.tp.limiter('l', { limit: 50, window: '1m' })
      await decision.settle(3)
      await decision.settle(1)
      await decision.refund()
      for (let i = 0; i < 20; i++) await limiter.consume('a')
      await limiter.peek('a')
      await limiter.refund('a')
      await limiter.block('a', '1s')
      await limiter.reset('a')
      await app.tp.limiter('w', { limit: 9, window: '1m' }).wait('a')
      inHandler.push(...budgets())
      return [200, 'ok']
    },
  })
  expect((await app.get()).status).toBe(200)
  expect(onItsWay).toHaveLength(1)
  expect(onItsWay[0]).toBeDefined()
  expect(inHandler.length).toBeGreaterThan(25)
  expect(inHandler.filter((budget) => budget !== undefined)).toEqual([])
})
