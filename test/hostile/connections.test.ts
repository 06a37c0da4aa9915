/** Attack: raw connections of HTTP/1.1 and HTTP/2 against every feature, while Redis comes and goes. */
import { expect, it } from 'vitest'
import { attack } from './attack.ts'
import { FEATURES } from './requests.ts'

// A failed run is repeated with HOSTILE_SEED. `npm run test:hostile` opens 500,000, on every Node.
const seed = Number(process.env['HOSTILE_SEED'] ?? 1)
const connections = Number(process.env['HOSTILE_CONNECTIONS'] ?? 20_000)

it(
  `attack: hostile connections neither end the process nor leave anything held (seed ${seed})`,
  { timeout: 600_000 },
  async () => {
    const result = await attack({ seed, connections })
    if (process.env['FIGURES']) console.log(result)
    expect(result.connections).toBeGreaterThanOrEqual(connections)
    expect(result.effects).toBeGreaterThan(connections / 100)
    // Requests that end before a handler test only node. A busy machine answers after many clients have left.
    const shares = FEATURES.map((path) => result.reach[path] ?? 0)
    expect(Math.min(...shares), JSON.stringify(result.reach)).toBeGreaterThan(0.02)
    expect(shares.reduce((sum, share) => sum + share) / shares.length).toBeGreaterThan(0.25)
  },
)
