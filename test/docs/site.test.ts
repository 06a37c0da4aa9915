/** The site of the documentation has every page, and its build fails for links that lead nowhere. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { deadLinks } from '../../.vitepress/dead-links.ts'
import { anchorOf, siteLink } from '../../.vitepress/links.ts'
import { FEATURE_PAGES, linkTo, pages, sidebar, sitePath } from '../../.vitepress/pages.ts'
import { sourcePage } from '../../.vitepress/source-pages.ts'
import { documents, textOf } from './blocks.ts'

describe('the sidebar', () => {
  const links = sidebar().flatMap(({ items }) => items.map(({ link }) => link))

  it('lists every document once', () => {
    const expected = new Set([...documents(), ...pages()].map(linkTo))
    expected.delete('/')
    expect(links.toSorted()).toEqual([...expected].toSorted())
  })

  it('calls each page by its first heading', () => {
    const items = sidebar().flatMap((group) => group.items)
    expect(items).toContainEqual({ text: 'Rate limits', link: '/rate-limits' })
    expect(items).toContainEqual({ text: 'Changelog', link: '/CHANGELOG' })
  })

  it('has the pages of a folder in its group', () => {
    const migration = sidebar().find(({ text }) => text === 'Migration')
    expect(migration?.items.map(({ link }) => link)).toContain('/migrate/redlock')
  })
})

it('the start page leads to the pages of the features', () => {
  const home = textOf('docs/index.md')
  const missing = FEATURE_PAGES.filter((page) => !home.includes(`(${sitePath(page)})`))
  expect(missing).toEqual([])
})

describe('a link of a document', () => {
  it.each([
    ['docs/cache.md', 'errors.md#tp_option', '/errors#tp_option'],
    ['docs/migrate/redlock.md', '../locks.md', '/locks'],
    ['docs/store.md', '../README.md#start', '/README#start'],
    ['README.md', 'docs/cache.md', '/cache'],
    ['CHANGELOG.md', 'docs/index.md', '/'],
    ['docs/platforms.md', '../examples/platforms', '/examples/platforms/README'],
    ['docs/store.md', '../test/turnpike/acl.test.ts', '/source/test/turnpike/acl.test.ts.html'],
    ['docs/cache.md', '../src/index.ts#L3', '/source/src/index.ts.html#L3'],
  ])('of %s to %s becomes %s', (page, href, expected) => {
    expect(siteLink(page, href)?.href).toBe(expected)
  })

  it.each(['https://example.com/a.md', '#options', '/cache', 'mailto:a@example.com'])(
    'to %s stays as it is',
    (href) => {
      expect(siteLink('docs/cache.md', href)).toBeUndefined()
    },
  )

  it.each(['missing.md', '../../outside.md', '../src/missing.ts'])(
    'to %s, which does not exist, fails the build',
    (href) => {
      expect(() => siteLink('docs/cache.md', href)).toThrow(
        `docs/cache.md links to ${href}, which does not exist`,
      )
    },
  )
})

describe('the copy of a source file', () => {
  it('has an anchor for each line, and shows markup as it is', () => {
    const html = sourcePage('docs/images/request.svg')
    expect(html).toContain('<span id="L1"><a href="#L1">1</a>&lt;svg xmlns=')
    expect(html).not.toContain('<svg')
  })

  it('of a folder lists its files', () => {
    expect(sourcePage('examples/jobs')).toContain('<a href="jobs/board.ts.html">board.ts</a>')
  })
})

it('anchors are those of GitHub', () => {
  expect(anchorOf('`tp.lock()` and TP_LOCKED: what, when?')).toBe('tplock-and-tp_locked-what-when')
})

describe('links of the built site', () => {
  /** Writes a site of two pages, the first with the given link. */
  function site(href: string): string {
    const folder = mkdtempSync(path.join(tmpdir(), 'site-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    mkdirSync(path.join(folder, 'migrate'))
    writeFileSync(path.join(folder, 'index.html'), `<h1 id="top"></h1><a class="x" href="${href}">`)
    writeFileSync(path.join(folder, 'migrate/one.html'), '<h2 id="step-1">')
    return folder
  }

  it.each(['/', '/#top', '#top', '/migrate/one', '/migrate/one#step-1', 'https://example.com/x'])(
    '%s leads somewhere',
    (href) => {
      expect(deadLinks(site(href))).toEqual([])
    },
  )

  it.each([
    ['/migrate/two', 'which does not exist'],
    ['/migrate', 'which does not exist'],
    ['/migrate/one#step-2', 'which has no such anchor'],
    ['#bottom', 'which has no such anchor'],
  ])('%s leads nowhere', (href, why) => {
    expect(deadLinks(site(href))).toEqual([`index.html links to ${href}, ${why}`])
  })

  it('are looked up below the base', () => {
    expect(deadLinks(site('/docs/migrate/one'), '/docs/')).toEqual([])
    expect(deadLinks(site('/docs/migrate/two'), '/docs/')).toHaveLength(1)
  })
})
