/** Finds links of the built site that lead nowhere: to a missing file, or to a missing anchor. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const decode = (text: string): string =>
  decodeURIComponent(text.replaceAll('&amp;', '&').replaceAll('&#39;', "'"))

/**
 * Returns a sentence for each link that leads nowhere.
 * @param folder the built site
 * @param base what its links begin with
 */
export function deadLinks(folder: string, base = '/'): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.html'))
  const anchors = new Map(
    files.map((file) => {
      const html = readFileSync(path.join(folder, file), 'utf8')
      const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => decode(id!))
      return [file, { html, ids: new Set(ids) }]
    }),
  )
  const problems = new Set<string>()
  for (const [file, { html }] of anchors) {
    const links = new Set([...html.matchAll(/<a\s[^>]*?href="([^"]+)"/g)].map(([, href]) => href!))
    for (const href of links) {
      if (/^[a-z]+:/.test(href)) continue
      const url = new URL(decode(href), `http://site${base}${file}`)
      const target = fileOf(folder, url.pathname.slice(base.length))
      const anchor = decodeURIComponent(url.hash.slice(1))
      if (target === undefined) problems.add(`${file} links to ${href}, which does not exist`)
      else if (anchor !== '' && anchors.get(target)?.ids.has(anchor) === false)
        problems.add(`${file} links to ${href}, which has no such anchor`)
    }
  }
  return [...problems]
}

/** Returns the file behind a path, as hosts of static files find it. */
export function fileOf(folder: string, pathname: string): string | undefined {
  const name = decodeURIComponent(pathname)
  return [name, `${name}.html`, path.posix.join(name, 'index.html')].find(
    (each) => /\.\w+$/.test(each) && existsSync(path.join(folder, each)),
  )
}
