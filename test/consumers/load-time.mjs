/**
 * Prints how long `require('turnpike/express')` takes: the median of 15 new processes, in ms.
 *
 *   npm run build && node test/consumers/load-time.mjs [path of another node]
 */
import { execFileSync } from 'node:child_process'

const [node = process.execPath] = process.argv.slice(2)
const source = `
  const start = performance.now()
  require('turnpike/express')
  console.log(performance.now() - start)`

const times = Array.from({ length: 15 }, () =>
  Number(execFileSync(node, ['-e', source], { cwd: import.meta.dirname, encoding: 'utf8' })),
)
times.sort((a, b) => a - b)
const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
console.log(
  `require('turnpike/express'): ${times[7].toFixed(1)} ms (median of 15, Node ${version})`,
)
