/** docs/platforms.md and docs/coverage.md come from tables. `npm run docs:platforms` writes them. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from './blocks.ts'
import { AREAS, type CoverageRow } from './coverage-rows.ts'
import { DIFFERENCES, PLATFORMS, type Platform, type PlatformRow } from './platform-rows.ts'

const WRITTEN = '<!-- Written by `npm run docs:platforms` from'
const table = (head: string, rows: readonly string[]): string =>
  [`| ${head} |`, `|${' --- |'.repeat(head.split(' | ').length)}`, ...rows].join('\n')

/** The place of a row: the page or the example, and the line that contains the snippet. */
function linkOf({ folder }: Platform, [, , , file, snippet]: PlatformRow): string {
  const target = path.posix.join('examples/platforms', folder, file)
  const lines = readFileSync(path.join(ROOT, target), 'utf8').split('\n')
  const line = lines.findIndex((text) => text.includes(snippet)) + 1
  expect(line, `${target} contains ${snippet}`).toBeGreaterThan(0)
  if (!target.startsWith('docs/')) return `[${file}:${line}](../${target}#L${line})`
  const anchor = snippet.replace(/^#+ /, '').toLowerCase().replaceAll(' ', '-')
  return `[${path.basename(target)}](${path.basename(target)}#${anchor})`
}

const platformSection = (platform: Platform): string => `## ${platform.title}

[examples/platforms/${platform.folder}](../examples/platforms/${platform.folder}), ${platform.framework}: \`npm run demo -- platforms/${platform.folder}\`

${table(
  'section | lines | what does it | where',
  platform.rows.map((row) => `| ${row[0]} | ${row[1]} | ${row[2]} | ${linkOf(platform, row)} |`),
)}
`

it('docs/platforms.md shows where each section is done', async () => {
  const page = `# Five platforms

${WRITTEN} test/docs/platform-rows.ts. Change it there. -->

Five documents describe what platforms in production use Redis for. For each there is an application of ordinary size that does all of it. Its test walks through the sections of the document, in the process and on a Redis.

${PLATFORMS.map(platformSection).join('\n')}
## What is done otherwise

${table(
  'the documents | here | why',
  DIFFERENCES.map((cells) => `| ${cells.join(' | ')} |`),
)}
`
  await expect(page).toMatchFileSnapshot('../../docs/platforms.md')
})

function proofOf({ proof: [file, title] }: CoverageRow): string {
  if (!file.startsWith('docs/')) {
    const name = title ?? file.replace(/^(test|examples)\//, '').replace(/\.test\.ts$/, '')
    return `[${name.replaceAll('|', '\\|')}](../${file})`
  }
  const page = path.basename(file)
  return title
    ? `[${page}](${page}#${title.toLowerCase().replaceAll(' ', '-')})`
    : `[${page}](${page})`
}

it('docs/coverage.md names a test for each capability', async () => {
  const sections = AREAS.map(
    ([title, rows]) => `## ${title}

${table(
  ' | capability | what does it | test',
  rows.map((row) => `| ${row.id} | ${row.capability} | ${row.use} | ${proofOf(row)} |`),
)}
`,
  )
  const page = `# Coverage

${WRITTEN} test/docs/coverage-rows.ts. Change it there. -->

The 120 capabilities that [five platforms](platforms.md) use Redis for, what does them in turnpike, and a test that shows it.

${sections.join('\n')}`
  await expect(page).toMatchFileSnapshot('../../docs/coverage.md')
})

const rows = AREAS.flatMap(([, own]) => own)

it('there are 120 capabilities, each once', () => {
  expect(new Set(rows.map(({ id }) => id)).size).toBe(120)
  expect(rows).toHaveLength(120)
})

it.each(rows)('$id $capability has a test', ({ proof: [file, title] }) => {
  const target = path.join(ROOT, file)
  expect(existsSync(target), file).toBe(true)
  if (title !== undefined) expect(readFileSync(target, 'utf8')).toContain(title)
})
