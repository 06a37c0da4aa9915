/** The memory cost of a flood of addresses while Redis is away. */
import { expect, it } from 'vitest'
import { startRedis } from '../../src/testing.ts'
import { startScript } from '../support/child.ts'
import { expectOnlyOutages } from '../support/stderr.ts'

it(
  'a million distinct addresses during an outage keep the heap under its cap',
  { timeout: 120_000 },
  async () => {
    await using server = await startRedis()
    const script = startScript(
      `
    import { turnpike } from 'turnpike/node'
    const tp = turnpike({ redis: process.env.URL, fallbackMaxKeys: 50_000 })
    const limiter = tp.limiter('flood', { limit: 2, window: '1m', denyCache: true })
    await limiter.consume('warm')
    console.log('warm')
    await received('frozen')
    const sources = {}
    let peak = 0
    for (let i = 0; i < 1_000_000; i += 100) {
      const decisions = await Promise.all(Array.from({ length: 100 }, (_, j) => limiter.consume(\`10.\${i + j}\`)))
      for (const { source } of decisions) sources[source] = (sources[source] ?? 0) + 1
      if (i % 50_000 === 0) {
        gc()
        peak = Math.max(peak, process.memoryUsage().heapUsed)
      }
    }
    console.log('peak', Math.round(peak / 2 ** 20))
    console.log('sources', JSON.stringify(sources))
    await tp.close()
    `,
      // This covers the whole process. The local fallback has the largest part.
      {
        env: { URL: server.url },
        node: ['--max-old-space-size=128', '--expose-gc'],
        patience: 110_000,
      },
    )
    await script.says('warm')
    server.freeze()
    script.tell('frozen')
    const { code, stdout, stderr } = await script.ended
    expectOnlyOutages(stderr, 'away')
    expect(code).toBe(0)
    const peak = Number(/peak (\d+)/.exec(stdout)![1])
    const sources = JSON.parse(/sources (.*)/.exec(stdout)![1]!) as Record<string, number>
    if (process.env['FIGURES'])
      console.log(`a million addresses: ${peak} MB, ${JSON.stringify(sources)}`)
    // This process counts all of them.
    expect(sources).toEqual({ local: 1_000_000 })
    expect(peak).toBeLessThan(80)
  },
)
