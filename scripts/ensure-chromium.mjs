/**
 * The tests in a browser need Chromium or Chrome. This prints nothing if there is one, installs one if
 * it can, and otherwise fails with the command to run. `CHROMIUM_BIN` names one of yours.
 */
import { spawnSync } from 'node:child_process'

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const COMMAND = 'sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium'

/** Returns the first browser that runs, undefined if there is none. */
export function findChromium() {
  const { CHROMIUM_BIN } = process.env
  const programs = CHROMIUM_BIN ? [CHROMIUM_BIN] : PROGRAMS
  return programs.find((program) => spawnSync(program, ['--version']).status === 0)
}

function stop(problem) {
  console.error(
    `ensure-chromium: ${problem}. The tests in a browser need Chromium. Run:\n  ${COMMAND}\nor name yours: CHROMIUM_BIN=<path> npm run test:browser`,
  )
  process.exit(1)
}

/** Runs a program and prints its output only if it fails. */
function run(program, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env })
  if (status !== 0) console.error(`${stdout ?? ''}${stderr ?? ''}`.trim())
  return status === 0
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  if (findChromium() === undefined) {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) stop('there is no Chromium')
    console.log('ensure-chromium: there is no Chromium; installing one with apt-get')
    const wait = ['-o', 'DPkg::Lock::Timeout=120']
    const isInstalled =
      run('apt-get', [...wait, 'update']) &&
      run('apt-get', [...wait, 'install', '-y', '--no-install-recommends', 'chromium'])
    if (!isInstalled || findChromium() === undefined) stop('installing Chromium failed')
  }
}
