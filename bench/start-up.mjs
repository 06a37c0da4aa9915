/**
 * How long it takes to load turnpike, beside Express itself: `node bench/start-up.mjs [--node 20,24]`.
 * Medians over fresh processes, in turns.
 */
import { execFileSync } from 'node:child_process'
import { options, stage, versionOf } from './lab.mjs'
import { fixed, median, print } from './table.mjs'

const PROCESSES = 15
const MODULES = ['express', 'turnpike/express', 'turnpike/koa', 'turnpike', 'ioredis']
const { nodes } = options()
const folder = stage()

function msToRequire(node, module) {
  const script = `const begin = performance.now(); require('${module}'); console.log(performance.now() - begin)`
  return Number(execFileSync(node, ['-e', script], { cwd: folder, encoding: 'utf8' }))
}

for (const node of nodes) {
  const times = new Map(MODULES.map((module) => [module, []]))
  for (let i = 0; i < PROCESSES; i++) {
    for (const [module, each] of times) each.push(msToRequire(node, module))
  }
  const rows = [...times].map(([module, each]) => [
    module,
    fixed(median(each), 1),
    fixed(Math.min(...each), 1),
    fixed(Math.max(...each), 1),
  ])
  print(
    `### Node ${versionOf(node)}: require(), ms, of ${PROCESSES} processes`,
    ['module', 'median', 'least', 'most'],
    rows,
  )
}
