/**
 * Runs test/ecosystem: real packages in real applications, with the packed turnpike. The packages are
 * installed in test/ecosystem by its own lock file, so that the main one stays small.
 *
 *   npm run test:ecosystem                 all
 *   npm run test:ecosystem -- koa          files whose names contain koa
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const root = path.join(import.meta.dirname, '..')
const folder = path.join(root, 'test/ecosystem')
const windows = process.platform === 'win32'

function npm(cwd, ...args) {
  execFileSync('npm', args, { cwd, stdio: ['ignore', 'ignore', 'inherit'], shell: windows })
}

const installed = path.join(folder, 'node_modules/.package-lock.json')
const lock = path.join(folder, 'package-lock.json')
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
  console.log('Installing the packages of test/ecosystem ...')
  npm(folder, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error')
}

console.log('Packing turnpike ...')
const packed = mkdtempSync(path.join(tmpdir(), 'turnpike-ecosystem-'))
const target = path.join(folder, 'node_modules/turnpike')
try {
  npm(root, 'pack', '--pack-destination', packed, '--loglevel=error')
  const [tarball] = readdirSync(packed)
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  const file = path.join(packed, tarball)
  execFileSync('tar', ['-xzf', file, '-C', target, '--strip-components=1'])

  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs')
  const config = path.join(folder, 'vitest.config.mjs')
  const { status } = spawnSync(
    process.execPath,
    [vitest, 'run', '--config', config, ...process.argv.slice(2)],
    { cwd: root, stdio: 'inherit', env: { ...process.env, TURNPIKE_TARBALL: file } },
  )
  process.exitCode = status ?? 1
} finally {
  rmSync(packed, { recursive: true, force: true })
}
