/**
 * What a request costs here and in another checkout, in us of CPU:
 * `node bench/compare.mjs <folder of the other checkout> [--node 24,22,20] [--only session-20-turnpike,…]`.
 * Both applications get short batches in turns, so that other work on the machine changes both alike.
 * The cheapest quarter of the batches counts.
 */
import path from 'node:path'
import { openLab, options, stage, versionOf } from './lab.mjs'
import { PATH } from './payload.mjs'
import { fixed, print } from './table.mjs'
import { allVariants } from './variants.mjs'

const VARIANTS = [
  'session-20-turnpike',
  '20-turnpike',
  'cache-20-turnpike',
  'cache-21-turnpike-near',
  'idempotency-21-turnpike-replay',
  '70-stack-express5/pipeline-1',
]
const WARM = 4000
const ROUNDS = 40
const REQUESTS = 400

const { nodes, positionals, only } = options({ only: { type: 'string' } })
const [other] = positionals
if (other === undefined) throw new Error('Name the folder of another checkout.')

const lab = await openLab(nodes[0])
try {
  const folders = [stage(path.resolve(other)), lab.folder]
  const wanted = only?.split(',') ?? VARIANTS
  const perFolder = []
  for (const folder of folders)
    perFolder.push(await allVariants(path.join(folder, 'bench/variants')))
  for (const node of nodes) {
    const rows = []
    for (const id of wanted) {
      const apps = []
      await lab.empty()
      for (const [i, folder] of folders.entries()) {
        const variant = perFolder[i].find((each) => each.id === id)
        apps.push({ variant, app: await lab.app(node, variant, { from: folder }), costs: [] })
      }
      for (const each of apps) await cost(each, WARM)
      for (let round = 0; round < ROUNDS; round++)
        for (const each of round % 2 ? apps : apps.toReversed())
          each.costs.push(await cost(each, REQUESTS))
      const [before, now] = apps.map(({ costs }) => least(costs))
      rows.push([id, fixed(before, 1), fixed(now, 1), fixed(now / before, 2)])
      for (const { app } of apps) app.stop()
    }
    print(`### Node ${versionOf(node)}`, ['', 'there', 'here', 'here / there'], rows)
  }
} finally {
  await lab.close()
}

async function cost({ app, variant: { method } }, requests) {
  const before = await app.ask('mark')
  await lab.load({ port: app.port, path: PATH, method, connections: 32, requests })
  const after = await app.ask('mark')
  return (after.cpu - before.cpu) / requests
}

function least(costs) {
  const cheapest = costs.toSorted((a, b) => a - b).slice(0, costs.length / 4)
  return cheapest.reduce((sum, each) => sum + each) / cheapest.length
}
