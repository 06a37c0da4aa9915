/** `npm run test:hostile`: 500,000 connections, shared by Node 20, 22, 24 and 26. */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { expect, it } from 'vitest'
import { attack } from './attack.ts'

const SCRIPT = path.join(import.meta.dirname, '../../scripts/node-version.mjs')
const versions = (process.env['HOSTILE_NODES'] ?? '20,22,24,26').split(',')
const connections = Math.ceil(
  Number(process.env['HOSTILE_CONNECTIONS'] ?? 500_000) / versions.length,
)
// Another day, other connections. What failed is repeated with the seed in the title.
const seed = Number(process.env['HOSTILE_SEED'] ?? Math.floor(Date.now() / 86_400_000) * 1_000_003)

it.each(versions)(
  `attack: ${connections} hostile connections on Node %s (seed ${seed})`,
  { timeout: 4 * 3_600_000 },
  async (version) => {
    const node = execFileSync(process.execPath, [SCRIPT, version], { encoding: 'utf8' }).trim()
    const result = await attack({ seed, connections, node })
    expect(result.effects).toBeGreaterThan(connections / 500)
    // The heap does not grow with connections.
    expect(result.heap.at(-1)! - result.heap[0]!).toBeLessThan(10)
    console.log(
      `Node ${version}: ${result.connections} connections in ${result.seconds.toFixed(0)} s`,
    )
  },
)
