/** docs/dependencies.md names each production dependency, and none runs a script when it is installed. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, textOf } from './blocks.ts'

interface Locked {
  dev?: boolean
  hasInstallScript?: boolean
  dependencies?: Record<string, string>
}
const json = (file: string): any => JSON.parse(readFileSync(join(ROOT, file), 'utf8'))
const { dependencies, peerDependencies } = json('package.json') as Record<
  string,
  Record<string, string>
>
const locked = json('package-lock.json').packages as Record<string, Locked>
const names = Object.keys(dependencies!)
const peers = Object.keys(peerDependencies!)

/** Returns where npm has installed a dependency of the package at `from`. */
function placeOf(name: string, from: string): string {
  for (let folder = from; ; folder = folder.slice(0, folder.lastIndexOf('/node_modules/'))) {
    const place = `${folder}/node_modules/${name}`.replace(/^\//, '')
    if (place in locked) return place
    if (!folder.includes('/node_modules/')) break
  }
  const place = `node_modules/${name}`
  if (!(place in locked)) throw new Error(`the lock file has no ${name}, which ${from} needs`)
  return place
}

/** Returns a package and all of its dependencies. */
function treeOf(place: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(place)) return seen
  seen.add(place)
  for (const name of Object.keys(locked[place]!.dependencies ?? {}))
    treeOf(placeOf(name, place), seen)
  return seen
}

test.each([...names, ...peers])('%s has a reason in docs/dependencies.md', (name) => {
  const text = textOf('docs/dependencies.md')
  expect(text).toContain(`| \`${name}\` |`)
  expect(text).toContain(`**\`${name}\`**`)
})

test('docs/dependencies.md names dependencies only', () => {
  const named = [...textOf('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(
    ([, name]) => name,
  )
  expect(new Set(named)).toEqual(new Set([...names, ...peers]))
})

describe.each([...names, ...peers])('%s with its dependencies', (name) => {
  const tree = [...treeOf(`node_modules/${name}`)]

  test('runs no script when it is installed', () => {
    expect(tree.filter((place) => locked[place]!.hasInstallScript)).toEqual([])
    for (const place of tree) {
      const { scripts = {} } = json(`${place}/package.json`) as {
        scripts?: Record<string, string>
      }
      for (const hook of ['preinstall', 'install', 'postinstall'])
        expect([place, hook, scripts[hook]]).toEqual([place, hook, undefined])
    }
  })

  test('has as many packages as docs/dependencies.md states', () => {
    const row = textOf('docs/dependencies.md')
      .split('\n')
      .find((line) => line.startsWith(`| \`${name}\` |`))!
    const said = row.endsWith('| nothing |') ? 0 : Number(/(\d+) packages/.exec(row)![1])
    expect(tree.length - 1).toBe(said)
  })
})

test('turnpike itself runs no script when it is installed', () => {
  const { scripts } = json('package.json')
  for (const hook of ['preinstall', 'install', 'postinstall', 'prepare'])
    expect(scripts).not.toHaveProperty(hook)
})
