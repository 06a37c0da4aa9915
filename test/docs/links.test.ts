/** Links between documents lead to files and headings that exist. */
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { anchorOf } from '../../.vitepress/links.ts'
import { documents, linksIn, ROOT, textOf, withoutCode } from './blocks.ts'

/** Returns the anchors of a document's headings, as GitHub creates them. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of withoutCode(text).matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const anchor = anchorOf(heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1'))
    let unique = anchor
    for (let i = 1; anchors.has(unique); i++) unique = `${anchor}-${i}`
    anchors.add(unique)
  }
  return anchors
}

const linksOf = (document: string): string[] => linksIn(textOf(document))

const anchors = new Map<string, Set<string>>()
function hasAnchor(file: string, anchor: string): boolean {
  if (!anchors.has(file)) anchors.set(file, anchorsOf(textOf(file)))
  return anchors.get(file)!.has(anchor)
}

/** Returns why a link leads nowhere, undefined if it leads somewhere. */
function problemOf(document: string, target: string): string | undefined {
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? document : normalize(join(dirname(document), path))
  if (!existsSync(join(ROOT, file))) return `${file} does not exist`
  if (anchor === undefined) return undefined
  // A line of a source file.
  const line = /^L(\d+)$/.exec(anchor)?.[1]
  const isThere = line ? textOf(file).split('\n').length >= Number(line) : hasAnchor(file, anchor)
  return isThere ? undefined : `${file} has no #${anchor}`
}

test('there are links to check', () => {
  expect(documents().flatMap(linksOf).length).toBeGreaterThan(1000)
})

test.each(documents())('every link of %s leads somewhere', (document) => {
  const problems = linksOf(document)
    .filter((target) => !/^[a-z]+:/.test(target))
    .flatMap((target) => problemOf(document, target) ?? [])
  expect(problems).toEqual([])
})
