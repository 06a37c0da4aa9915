/**
 * The tests need a real Redis (7.0 or newer) or Valkey (7.2 or newer). This prints nothing if there is
 * one, installs one if it can, and otherwise fails with the command to run. Tests start their own
 * servers, so the service of a distribution's package is not started.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'

const SERVERS = { 'redis-server': [7, 0], 'valkey-server': [7, 2] }
const WANTED = 'Redis >= 7.0 or Valkey >= 7.2'
const BY_PATH = 'REDIS_SERVER_BIN=<path of a redis-server of yours> npm test'

/** Returns `[major, minor]` of the first version number in a string, or undefined. */
function versionIn(text) {
  const found = /(\d+)\.(\d+)/.exec(text)
  return found ? [Number(found[1]), Number(found[2])] : undefined
}

function isEnough([major, minor], [leastMajor, leastMinor]) {
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}

/** Returns what is wrong with the server `program`, undefined if it can be used. */
function complaint(program) {
  const { stdout, status } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  const version = status === 0 ? versionIn(/\bv=\S+/.exec(stdout)?.[0] ?? '') : undefined
  if (!version) return `${program} does not run`
  const kind = /valkey/i.test(stdout + path.basename(program)) ? 'valkey-server' : 'redis-server'
  if (!isEnough(version, SERVERS[kind])) return `${program} is ${version.join('.')}, too old`
  return undefined
}

function isOnPath(program) {
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Returns what is wrong with the servers on PATH, undefined if one of them can be used. */
function complaintOnPath() {
  const complaints = Object.keys(SERVERS).filter(isOnPath).map(complaint)
  if (complaints.includes(undefined)) return undefined
  return complaints.join(', ') || 'there is no redis-server or valkey-server on PATH'
}

function stop(problem, command) {
  console.error(`ensure-redis: ${problem}. The tests need ${WANTED}. Run:\n  ${command}`)
  process.exit(1)
}

/** Runs a shell script and prints its output only if it fails. */
function shell(script, { as = [] } = {}) {
  const [program, ...args] = [...as, 'sh', '-c', script]
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) console.error(`${stdout}${stderr}`.trim())
  return status === 0
}

/** Returns the command that runs another as root without a password, undefined if there is none. */
function asRoot() {
  if (process.getuid?.() === 0) return []
  const sudo = isOnPath('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0
  return sudo ? ['sudo', '-n'] : undefined
}

/** Returns the Debian package of a server that is new enough, undefined if there is none. */
function debianPackage() {
  return Object.keys(SERVERS).find((name) => {
    const { stdout } = spawnSync('apt-cache', ['policy', name], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    })
    const candidate = /Candidate: (?:\d+:)?(\d\S*)/.exec(stdout)?.[1]
    return candidate !== undefined && isEnough(versionIn(candidate) ?? [0, 0], SERVERS[name])
  })
}

// policy-rc.d stops the package from starting its service. disable keeps it off after a reboot.
const INSTALL = (name) => `
  set -e
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
  fi
  apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends ${name}
  if [ -d /run/systemd/system ]; then systemctl disable --now ${name}; fi`

function installOnDebian(problem) {
  const root = asRoot()
  if (!root) stop(problem, 'sudo apt-get update && sudo apt-get install -y redis-server')
  console.log(`ensure-redis: ${problem}; installing one with apt-get`)
  if (!shell('apt-get -o DPkg::Lock::Timeout=120 update', { as: root })) {
    stop('apt-get update failed', 'sudo apt-get update && sudo apt-get install -y redis-server')
  }
  const name = debianPackage()
  if (!name) {
    stop('this distribution has no server that is new enough', BY_PATH)
  }
  if (!shell(INSTALL(name), { as: root })) {
    stop(`installing ${name} failed`, `sudo apt-get install -y ${name}`)
  }
}

function installOnMac(problem) {
  console.log(`ensure-redis: ${problem}; installing one with brew`)
  if (!shell('brew install redis')) stop('brew install redis failed', 'brew install redis')
}

/** Returns the command to run if this file installs nothing. */
function byHand() {
  const managers = {
    brew: 'brew install redis',
    dnf: 'sudo dnf install -y redis',
    pacman: 'sudo pacman -S --noconfirm redis',
    zypper: 'sudo zypper install -y redis',
    apk: 'apk add redis',
  }
  const manager = Object.keys(managers).find(isOnPath)
  return manager ? managers[manager] : BY_PATH
}

const chosen = process.env.REDIS_SERVER_BIN
if (chosen) {
  const problem = complaint(chosen)
  if (problem) stop(`REDIS_SERVER_BIN: ${problem}`, 'unset REDIS_SERVER_BIN && npm test')
} else {
  const problem = complaintOnPath()
  if (problem) {
    if (isOnPath('apt-get')) installOnDebian(problem)
    else if (process.platform === 'darwin' && isOnPath('brew')) installOnMac(problem)
    else stop(problem, byHand())

    const left = complaintOnPath()
    if (left) stop(`after installing, ${left}`, BY_PATH)
    console.log('ensure-redis: installed')
  }
}
