/**
 * Prints the path of another Node's binary, for tests and benchmarks. It is downloaded from the npm
 * registry the first time and kept in .cache/.
 *
 *   node scripts/node-version.mjs 24          the newest 24 of the first download
 *   node scripts/node-version.mjs 22.14.0     exactly that one
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const [version] = process.argv.slice(2)
if (!/^\d+(\.\d+){0,2}$/.test(version ?? '')) {
  console.error('Usage: node scripts/node-version.mjs <version>, as in 24 or 22.14.0')
  process.exit(1)
}

const windows = process.platform === 'win32'
const name = `node-${windows ? 'win' : process.platform}-${process.arch}`
const folder = path.join(import.meta.dirname, '../.cache', `node-${version}`)
const binary = path.join(folder, 'node_modules', name, 'bin', windows ? 'node.exe' : 'node')

if (!existsSync(binary)) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n')
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`]
  // The output of npm goes to stderr. Otherwise stdout would hold more than the path.
  execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 2, 2], shell: windows })
}

const got = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim()
if (!`${got}.`.startsWith(`v${version}.`)) {
  console.error(`${binary} is ${got}, not ${version}: remove ${folder} and try again.`)
  process.exit(1)
}
console.log(binary)
