/**
 * Links between documents are written for GitHub: relative, to files. Here they become links of the
 * site. A link to a file that is not a page, for example a test, leads to a copy of it.
 */
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { linkTo, pages, ROOT } from './pages.ts'

/** Where the site has copies of source files. */
export const SOURCE = '/source/'

/** Returns the anchor of a heading, as GitHub creates it. */
export const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')

/** A link of the site. */
interface SiteLink {
  href: string
  /** The file or folder that must be copied, by its path in the repository. */
  source?: string
}

const known = new Set(pages())

/**
 * Returns what a link of a document becomes, undefined for one that stays.
 * @param page the document, by its path in the repository
 * @throws Error for a file that does not exist
 */
export function siteLink(page: string, href: string): SiteLink | undefined {
  if (/^([a-z]+:|#|\/)/.test(href)) return undefined
  const [file = '', anchor] = href.split('#')
  const target = path.posix.join(path.posix.dirname(page), decodeURI(file)).replace(/\/$/, '')
  const hash = anchor === undefined ? '' : `#${anchor}`
  const found = [target, `${target}/README.md`].find((each) => known.has(each))
  if (found !== undefined) return { href: `${linkTo(found)}${hash}` }
  if (target.startsWith('..') || !existsSync(path.join(ROOT, target)))
    throw new Error(`${page} links to ${href}, which does not exist`)
  return { href: `${SOURCE}${target}.html${hash}`, source: target }
}

/** The part of a markdown-it token that links have. */
interface Token {
  type: string
  children: Token[] | null
  attrGet(name: string): string | null
  attrSet(name: string, value: string): void
}

/** Returns a rule for markdown-it. It rewrites the links of a page, and reports the files to copy. */
export function rewriteLinks(
  onSource: (file: string) => void,
): (state: { tokens: Token[]; env: { realPath?: string; path?: string } }) => void {
  return ({ tokens, env }) => {
    const file = env.realPath ?? env.path
    if (file === undefined) return
    const page = path.relative(ROOT, file).replaceAll('\\', '/')
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      if (token.type !== 'link_open') continue
      const link = siteLink(page, token.attrGet('href') ?? '')
      if (link === undefined) continue
      token.attrSet('href', link.href)
      if (link.source === undefined) continue
      onSource(link.source)
      // The router would look for a page.
      token.attrSet('target', '_self')
    }
  }
}

export const isFolder = (file: string): boolean => statSync(path.join(ROOT, file)).isDirectory()
