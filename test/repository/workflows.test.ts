/** The workflows of the repository run what exists, on every version that the package supports. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from '../docs/blocks.ts'

const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8')
const manifest = (file: string): any => JSON.parse(read(file))
const { engines, scripts } = manifest('package.json')
const workflows = readdirSync(path.join(ROOT, '.github/workflows')).map(
  (file) => [file, read(`.github/workflows/${file}`)] as const,
)

describe.each(workflows)('%s', (_, text) => {
  test('runs scripts that exist', () => {
    const release = manifest('.github/release/package.json').scripts
    const steps = [...text.matchAll(/npm run (?:(--prefix \S+) )?([\w:-]+)/g)]
    for (const [, prefix, script] of steps)
      expect(Object.keys(prefix === undefined ? scripts : release)).toContain(script)
    const [, listed] = /script: \[(.+)\]/.exec(text) ?? []
    for (const [, script] of (listed ?? '').matchAll(/'([^']+)'/g))
      expect(Object.keys(scripts)).toContain(script)
    for (const [file] of text.matchAll(/\.ci\/\w+|\.\/\.github\/\S+/g))
      expect(existsSync(path.join(ROOT, file)), file).toBe(true)
  })

  test('may only read the repository, unless a job says why', () => {
    expect(text).toMatch(/^permissions:\n {2}contents: read$/m)
  })

  test('runs no install script, and puts no expression into a shell', () => {
    for (const [line] of text.matchAll(/npm ci.*/g)) expect(line).toContain('--ignore-scripts')
    for (const [line] of text.matchAll(/^ *(?:- )?run: .*/gm)) expect(line).not.toContain('${{')
  })

  test('names the version of every action', () => {
    const actions = [...text.matchAll(/uses: (\S+)/g)].map(([, action]) => action!)
    for (const action of actions.filter((each) => !each.startsWith('./')))
      expect(action).toMatch(/@v\d+$/)
  })
})

test('every supported Node is tested, from the oldest on', () => {
  const [, versions] = /node: \[(.+)\]/.exec(read('.github/workflows/ci.yml'))!
  const tested = [...versions!.matchAll(/\d+/g)].map(Number)
  const [oldest] = /\d+/.exec(engines.node)!
  expect(tested[0]).toBe(Number(oldest))
  expect(tested).toEqual([20, 22, 24, 26])
})

test('Redis 7, Redis 8 and Valkey are tested', () => {
  const images = [...read('.github/workflows/ci.yml').matchAll(/image: '(\S+?)'/g)]
  expect(images.map(([, image]) => image!.replace(/[.-].*/, ''))).toEqual([
    'redis:7',
    'redis:8',
    'valkey/valkey:8',
  ])
})

test('no lock file and no configuration names a registry', () => {
  for (const file of ['package-lock.json', '.github/release/package-lock.json'])
    expect(read(file)).not.toMatch(/"resolved": "http/)
  expect(existsSync(path.join(ROOT, '.npmrc'))).toBe(false)
})

test('each file of llms.txt exists', () => {
  const links = [...read('llms.txt').matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target!)
  expect(links.length).toBeGreaterThan(20)
  for (const file of links.filter((each) => !each.startsWith('http')))
    expect(existsSync(path.join(ROOT, file)), file).toBe(true)
})
