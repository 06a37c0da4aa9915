/** Links between documents lead to files and headings that exist. */
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { anchorOf } from '../../.vitepress/links.ts'
import { documents, ROOT, textOf } from './blocks.ts'

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

const withoutCode = (text: string): string =>
  text.replace(/^\s*(`{3,})[^\n]*\n[\s\S]*?^\s*\1 *$/gm, '')

const links = documents().flatMap((document) =>
  [
    ...withoutCode(textOf(document))
      .replace(/`[^`\n]*`/g, '``')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, target]) => ({ document, target: target! })),
)

test('there are links to check', () => expect(links.length).toBeGreaterThan(10))

test.each(links.filter(({ target }) => !/^[a-z]+:/.test(target)))(
  '$document: $target',
  ({ document, target }) => {
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? document : normalize(join(dirname(document), path))
    expect(existsSync(join(ROOT, file)), `${file} does not exist`).toBe(true)
    if (anchor === undefined) return
    // A line of a source file.
    const line = /^L(\d+)$/.exec(anchor)?.[1]
    if (line) expect(textOf(file).split('\n').length).toBeGreaterThanOrEqual(Number(line))
    else expect([...anchorsOf(textOf(file))]).toContain(anchor)
  },
)
