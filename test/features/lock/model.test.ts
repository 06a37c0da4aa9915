/** Random sequences of a lock over several processes, against a model: never two holders, tokens grow. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CONTEXT } from '../../../src/extension.ts'
import { LockEngine } from '../../../src/features/lock/engine.ts'
import { HeldLease } from '../../../src/features/lease-engine.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'

const TTL = 30_000

interface Holder {
  held: HeldLease
  until: number
  due: number
  /** Its process renews it. */
  alive: boolean
  lost: boolean
  ended: boolean
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('acquire'), which: fc.nat({ max: 2 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('release', 'crash', 'cooldown'),
      which: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('turn'),
      which: fc.constantFrom(1, 9_999, 10_000, 15_000, 29_999, 30_000, 60_000),
    }),
  },
)

test('any order of acquiring, releasing, cooldowns, crashes and waits: one holder at most, tokens grow', async () => {
  const seen = new Map<string, number>()
  const saw = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1)
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }),
      async (steps) => {
        const store = testStore()
        const context = turnpike({ store })[CONTEXT]('lock')
        const engines = Array.from({ length: 3 }, () => new LockEngine(context, 'lock'))
        const [locks] = engines as [LockEngine]
        const holders: Holder[] = []
        let now = 0
        let token = 0
        /** Its holder in the store, or the end of its cooldown. */
        let owner: { holder: Holder | undefined; until: number } | undefined
        const has = (holder: Holder): boolean => owner?.holder === holder && owner.until > now
        for (const { do: what, which } of steps) {
          if (what === 'turn') {
            now += which
            for (const holder of holders) {
              if (!holder.alive || holder.ended || now < holder.due) continue
              if (now >= holder.until || !has(holder)) {
                holder.alive = false
                holder.lost = true
              } else {
                holder.until = now + TTL
                holder.due = now + TTL / 3
                owner!.until = holder.until
              }
            }
            await store.advance(which)
            for (const { held, alive, ended, until } of holders)
              if (alive && !ended) expect(held.lease.isLost).toBe(now >= until)
          } else if (what === 'acquire') {
            const isFree = !owner || owner.until <= now
            const outcome = await engines[which]!.acquire('tag', {
              name: 'l',
              lease: TTL,
              wait: 0,
              fair: false,
              isWork: false,
              waitReplicas: 0,
            })
            const isAcquired = outcome instanceof HeldLease
            saw(isAcquired ? 'acquired' : 'refused')
            expect(isAcquired).toBe(isFree)
            if (!isAcquired) {
              expect(outcome.waitMs).toBe(owner!.until - now)
              continue
            }
            expect(outcome.token).toBeGreaterThan(token)
            token = outcome.token
            const holder = { held: outcome, until: now + TTL, due: now + TTL / 3 }
            holders.push({ ...holder, alive: true, lost: false, ended: false })
            owner = { holder: holders.at(-1), until: holder.until }
          } else {
            const holder = holders.filter(({ ended }) => !ended)[which]
            if (!holder) continue
            if (what === 'crash') {
              holder.alive = false
              holder.held.lease.end()
              continue
            }
            holder.ended = true
            const isOurs = has(holder)
            saw(`${what} ${isOurs ? 'in time' : 'too late'}`)
            const isSaid = await (what === 'cooldown'
              ? locks.cooldown(holder.held, 'tag', 5000)
              : holder.held.release())
            // A crashed holder does not measure its lease any more; Redis does.
            expect(isSaid).toBe(isOurs && !holder.lost)
            if (isOurs)
              owner = what === 'cooldown' ? { holder: undefined, until: now + 5000 } : undefined
          }
        }
        for (const { held } of holders) held.lease.end()
      },
    ),
    { numRuns: 300 },
  )
  for (const what of [
    'acquired',
    'refused',
    'release in time',
    'release too late',
    'cooldown in time',
  ])
    expect(seen.get(what), what).toBeGreaterThan(0)
})
