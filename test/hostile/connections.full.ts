/**
 * `npm run test:hostile`: 500,000 connections, shared by Node 20, 22, 24 and 26. Each test is one chunk
 * of them, with a process of its own, so that a run that is stopped has tested what it has printed.
 */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { expect, it } from 'vitest'
import { attack } from './attack.ts'

const SCRIPT = path.join(import.meta.dirname, '../../scripts/node-version.mjs')
const CHUNK = 12_500
const versions = (process.env['HOSTILE_NODES'] ?? '20,22,24,26').split(',')
const connections = Number(process.env['HOSTILE_CONNECTIONS'] ?? 500_000)
// Another day, other connections. What failed is repeated with the seed in the title.
const first = Number(process.env['HOSTILE_SEED'] ?? Math.floor(Date.now() / 86_400_000) * 1_000_003)

const chunks = Array.from({ length: Math.ceil(connections / CHUNK) }, (_, i) => ({
  version: versions[i % versions.length]!,
  seed: first + i * CHUNK * 2,
}))

it.each(chunks)(
  `attack: ${CHUNK} hostile connections on Node $version, from seed $seed`,
  { timeout: 3_600_000 },
  async ({ version, seed }) => {
    const node = execFileSync(process.execPath, [SCRIPT, version], { encoding: 'utf8' }).trim()
    const result = await attack({ seed, connections: CHUNK, node })
    expect(result.effects).toBeGreaterThan(CHUNK / 100)
    // The heap does not grow with connections.
    expect(result.heap.at(-1)! - result.heap[0]!).toBeLessThan(10)
    console.log(
      `Node ${version}, seed ${seed}: ${result.connections} connections in ${result.seconds.toFixed(0)} s`,
    )
  },
)
