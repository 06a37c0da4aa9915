/**
 * How long it takes to load turnpike, compared with Express: `node bench/start-up.mjs [--node 20,24]`.
 * Medians over fresh processes, in turns.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { options, stage, versionOf } from './lab.mjs'
import { fixed, median, print } from './table.mjs'

const PROCESSES = 15
/** The goal: ms to require turnpike/express. */
export const MOST_START_UP = 40
const MODULES = ['express', 'turnpike/express', 'turnpike/koa', 'turnpike', 'ioredis']

function msToRequire(node, module, cwd) {
  const script = `const begin = performance.now(); require('${module}'); console.log(performance.now() - begin)`
  return Number(execFileSync(node, ['-e', script], { cwd, encoding: 'utf8' }))
}

/** ms to require each module: `[{ node, median, least, most }]`. @param folder from stage() */
export function measureStartUp(folder, nodes) {
  return nodes.map((node) => {
    const times = new Map(MODULES.map((module) => [module, []]))
    for (let i = 0; i < PROCESSES; i++) {
      for (const [module, each] of times) each.push(msToRequire(node, module, folder))
    }
    const by = (figure) =>
      Object.fromEntries([...times].map(([module, each]) => [module, figure(each)]))
    return {
      node: versionOf(node),
      median: by(median),
      least: by((each) => Math.min(...each)),
      most: by((each) => Math.max(...each)),
    }
  })
}

/** What the package's JavaScript weighs. */
export function measurePackage(folder) {
  const dist = path.join(folder, 'dist')
  return Object.entries({ ESM: '.mjs', CommonJS: '.cjs' }).map(([format, ending]) => {
    const files = readdirSync(dist, { recursive: true }).filter((file) => file.endsWith(ending))
    const texts = files.map((file) => readFileSync(path.join(dist, file)))
    const sum = (figure) => texts.reduce((total, each) => total + figure(each), 0)
    return {
      format,
      bytes: sum((each) => each.length),
      gzip: sum((each) => gzipSync(each).length),
      lines: sum((each) => each.toString().split('\n').length),
    }
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { nodes } = options()
  for (const { node, median, least, most } of measureStartUp(stage(), nodes)) {
    print(
      `### Node ${node}: require(), ms, of ${PROCESSES} processes (the goal: turnpike/express in ${MOST_START_UP})`,
      ['module', 'median', 'least', 'most'],
      MODULES.map((module) => [
        module,
        ...[median, least, most].map((each) => fixed(each[module], 1)),
      ]),
    )
  }
}
