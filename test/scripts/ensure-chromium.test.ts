/** `scripts/ensure-chromium.mjs` installs a browser or fails. It never lets the tests pass without one. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'

const SCRIPT = path.resolve(import.meta.dirname, '../../scripts/ensure-chromium.mjs')
const INSTALL = 'install -y --no-install-recommends chromium'
const BROWSER = '#!/bin/sh\necho Chromium 1'

/** Says what it was called with, and creates what it installs. */
const aptGet = (commands: string): string =>
  `#!/bin/sh\n[ "$1" = --version ] || echo "$DEBIAN_FRONTEND $*" >> "$FOLDER/apt"\n${commands}`
const CREATES = `case "$*" in *"${INSTALL}") printf '#!/bin/sh\\n' > "$FOLDER/chromium"; /bin/chmod 755 "$FOLDER/chromium";; esac`

/** Runs the script where nothing but the given programs is on PATH. */
function run(programs: Record<string, string>, env: Record<string, string> = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'turnpike-chromium-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const all = { env: '#!/bin/sh\nexec /usr/bin/env "$@"', sudo: '#!/bin/sh\nshift\nexec "$@"' }
  for (const [name, text] of Object.entries({ ...all, ...programs })) {
    writeFileSync(path.join(folder, name), text)
    chmodSync(path.join(folder, name), 0o755)
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT], {
    encoding: 'utf8',
    env: { PATH: folder, FOLDER: folder, ...env },
  })
  const log = path.join(folder, 'apt')
  const apt = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  return { status, output: stdout + stderr, apt }
}

it('prints nothing and installs nothing where there is a browser', () => {
  const found = run({ 'google-chrome': BROWSER, 'apt-get': aptGet('') })
  expect(found).toEqual({ status: 0, output: '', apt: [] })
})

it('installs Chromium with apt-get where there is none', () => {
  const { apt, output, status } = run({ 'apt-get': aptGet(CREATES) })
  expect(apt).toEqual([
    'noninteractive -o DPkg::Lock::Timeout=120 update',
    `noninteractive -o DPkg::Lock::Timeout=120 ${INSTALL}`,
  ])
  expect(output).toMatch(/there is no Chromium; installing one with apt-get\n.*installed\n$/s)
  expect(status).toBe(0)
})

it.each([
  ['there is no apt-get', {}, {}, /there is no Chromium\. .*Run:\n {2}sudo apt-get/s],
  [
    'apt-get fails',
    { 'apt-get': aptGet('echo E: no network; [ "$1" = --version ]') },
    {},
    /E: no network.*installing Chromium failed/s,
  ],
  [
    'what it installs does not run',
    { 'apt-get': aptGet('') },
    {},
    /was installed, and does not run/,
  ],
  [
    'CHROMIUM_BIN names none, whatever there is',
    { chromium: BROWSER, 'apt-get': aptGet(CREATES) },
    { CHROMIUM_BIN: '/nowhere' },
    /CHROMIUM_BIN: \/nowhere does not run/,
  ],
])('fails, with the command to run, where %s', (_, programs, env, message) => {
  const { output, status } = run(programs, env)
  expect(output).toMatch(message)
  expect(status).toBe(1)
})
