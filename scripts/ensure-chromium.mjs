/**
 * The tests in a browser need Chromium or Chrome. This prints nothing if there is one, installs one if
 * it can, and otherwise fails with the command to run. `CHROMIUM_BIN` names one of yours.
 */
import { spawnSync } from 'node:child_process'

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const COMMAND = 'sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium'

const runs = (program, ...args) => spawnSync(program, args).status === 0

/** Returns the first browser that runs, undefined if there is none. */
export function findChromium() {
  const { CHROMIUM_BIN } = process.env
  const programs = CHROMIUM_BIN ? [CHROMIUM_BIN] : PROGRAMS
  return programs.find((program) => runs(program, '--version'))
}

function stop(problem) {
  console.error(
    `ensure-chromium: ${problem}. The tests in a browser need Chromium. Run:\n  ${COMMAND}\nor name yours: CHROMIUM_BIN=<path> npm run test:browser`,
  )
  process.exit(1)
}

/** Returns the command that runs another as root without a password, undefined if there is none. */
function asRoot() {
  if (process.getuid?.() === 0) return []
  return runs('sudo', '-n', 'true') ? ['sudo', '-n'] : undefined
}

/** Runs apt-get and prints its output only if it fails. */
function aptGet(root, ...args) {
  const settings = ['DEBIAN_FRONTEND=noninteractive', 'apt-get', '-o', 'DPkg::Lock::Timeout=120']
  const [program, ...rest] = [...root, 'env', ...settings, ...args]
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8' })
  if (status !== 0) console.error(`${stdout ?? ''}${stderr ?? ''}`.trim())
  return status === 0
}

function install() {
  if (process.env.CHROMIUM_BIN) stop(`CHROMIUM_BIN: ${process.env.CHROMIUM_BIN} does not run`)
  const root = asRoot()
  if (root === undefined || !runs('apt-get', '--version')) stop('there is no Chromium')
  console.log('ensure-chromium: there is no Chromium; installing one with apt-get')
  const isInstalled =
    aptGet(root, 'update') && aptGet(root, 'install', '-y', '--no-install-recommends', 'chromium')
  if (!isInstalled) stop('installing Chromium failed')
  if (findChromium() === undefined) stop('Chromium was installed, and does not run')
  console.log('ensure-chromium: installed')
}

if ((import.meta.main ?? process.argv[1] === import.meta.filename) && findChromium() === undefined)
  install()
