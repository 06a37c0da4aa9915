/** Attack: raw connections of HTTP/1.1 and HTTP/2 against every feature, while Redis comes and goes. */
import { expect, it } from 'vitest'
import { attack } from './attack.ts'

// A failed run is repeated with HOSTILE_SEED. `npm run test:hostile` opens 500,000, on every Node.
const seed = Number(process.env['HOSTILE_SEED'] ?? 1)
const connections = Number(process.env['HOSTILE_CONNECTIONS'] ?? 4_000)

it(
  `attack: hostile connections neither end the process nor leave anything held (seed ${seed})`,
  { timeout: 240_000 },
  async () => {
    const result = await attack({ seed, connections })
    expect(result.connections).toBeGreaterThanOrEqual(connections)
    expect(result.effects).toBeGreaterThan(connections / 500)
    if (process.env['FIGURES']) console.log(result)
  },
)
