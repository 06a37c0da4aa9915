/** Each code of Cache-Status and of the event: what produces it, and what stores the response all the same. */
import { describe, expect, test } from 'vitest'
import { CACHE_REASONS, type CacheReason } from '../../../src/features/cache/reasons.ts'
import { startRedis } from '../../../src/testing.ts'
import { textOf } from '../../docs/blocks.ts'
import { bothEngines, type EngineUnderTest } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { CASES, type Situation } from './situations.ts'
import { kinds, type App, type Kind } from './support.ts'

const codes = Object.keys(CACHE_REASONS) as CacheReason[]

test('each code has a case, and each remedy in docs/cache.md has one', () => {
  expect(Object.keys(CASES).sort()).toEqual([...codes].sort())
  const rows = [
    ...textOf('docs/cache.md').matchAll(/^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|.*\|(.*)\|$/gm),
  ]
  const withRemedy = rows
    .filter(([, , remedy]) => remedy!.trim() !== '')
    .flatMap(([, names]) => names!.replaceAll('`', '').split(', '))
    .filter((name) => name in CACHE_REASONS)
  expect(withRemedy.length).toBeGreaterThan(10)
  const tested = codes.filter((code) => CASES[code].remedies !== undefined)
  expect(tested.sort()).toEqual(withRemedy.sort())
})

describe.each(bothEngines())('on the $name engine', (engine) => {
  // What a response is not stored for does not depend on the engine.
  const some = engine.name === 'Redis' ? kinds.filter(({ name }) => /[53]$/.test(name)) : kinds
  describe.each(some)('$name', (kind) => {
    test.each(codes)(
      '%s: the response and the event say so, and the handler answers',
      async (code) => {
        const { forward, remedies: _, ...situation } = CASES[code]
        const { app, reasons, send } = await start(kind, engine, situation)
        const status = await send()
        await until(`the event says ${code}`, () => reasons.includes(code))
        expect(status ?? 'undefined').toContain(
          forward === undefined ? 'undefined' : `turnpike; fwd=${forward}; detail=${code}`,
        )
        // Koa reports a client that has left.
        const expected = ['on purpose', 'Premature close']
        expect(app.errors.filter(({ message }) => !expected.includes(message))).toEqual([])
      },
    )

    if (engine.name === 'Redis') return
    const remedies = codes.flatMap((code) =>
      (CASES[code].remedies ?? []).map((remedy, index) => ({ code, remedy, number: index + 1 })),
    )
    test.each(remedies)('$code: remedy $number stores the response', async ({ code, remedy }) => {
      const { forward: _, remedies: __, ...situation } = CASES[code]
      const { app, send, reasons } = await start(kind, engine, { ...situation, ...remedy })
      await send()
      await until(
        `it is stored, not refused: ${String(reasons)}`,
        () => app.tp.cache.stats().stored > 0,
      )
    })
  })
})

interface Started {
  app: App
  /** Reasons that events had. */
  reasons: (string | undefined)[]
  send(): Promise<string | undefined>
}

async function start(kind: Kind, engine: EngineUnderTest, situation: Situation): Promise<Started> {
  const { cache = { ttl: '1m' }, outer, handler = ({ send }) => send(200, 'hello') } = situation
  const { store, prefix, advance } = engine.open()
  const own = situation.isAway && engine.name === 'Redis' ? await startRedis() : undefined
  const options = own ? { redis: own.url, logger: false as const } : { store, prefix }
  const app = await kind.start({
    options: { ...options, requestBudget: '9s' },
    cache,
    handler,
    ...(outer && { outer }),
  })
  const reasons: (string | undefined)[] = []
  app.tp.on('cache', ({ reason }) => reasons.push(reason))
  if (own) {
    await app.tp.ready()
    await own.stop()
  } else if (situation.isAway) (store as unknown as { fail(): void }).fail()
  const { send = async () => String((await app.get()).headers['cache-status']) } = situation
  return { app, reasons, send: () => send(app, advance) }
}
