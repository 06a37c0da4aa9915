/** The site of the documentation. `npm run docs` serves it, `npm run docs:build` writes it to .cache/site. */
import { defineConfig, type DefaultTheme } from 'vitepress'
import { deadLinks } from './dead-links.ts'
import { anchorOf, rewriteLinks, SOURCE } from './links.ts'
import { otherDocuments, sidebar, sitePath } from './pages.ts'
import { sourcePage, writeSourcePages } from './source-pages.ts'

const groups = sidebar()
const sources = new Set<string>()

const ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='%230f766e'/><path d='M7 11h18M16 11v14' stroke='white' stroke-width='5'/></svg>"

/** Markdown files that are not pages. */
const excluded = ['bench/**', 'test/**', ...otherDocuments()]

/** The first page of a group, in the bar at the top. */
const first = (title: string): DefaultTheme.NavItem[] =>
  groups
    .filter(({ text }) => text === title)
    .map(({ text, items }) => ({ text, link: items[0]!.link }))

export default defineConfig({
  title: 'turnpike',
  description:
    'Sessions, rate limits, response caching, idempotency keys and locks for Express and Koa over one Redis.',
  base: process.env['DOCS_BASE'] ?? '/',
  head: [['link', { rel: 'icon', href: ICON }]],
  outDir: '.cache/site',
  cacheDir: '.cache/vitepress',
  cleanUrls: true,
  metaChunk: true,
  srcExclude: excluded,
  // Otherwise each file config.ts of the repository would be read.
  additionalConfig: {},
  rewrites: sitePath,
  // What is checked after the build includes these.
  ignoreDeadLinks: [new RegExp(`^${SOURCE}`)],
  markdown: {
    anchor: { slugify: anchorOf },
    config(md) {
      const rewrite = rewriteLinks((file) => sources.add(file))
      md.core.ruler.push('site-links', (state) => rewrite(state as never))
    },
  },
  vite: {
    // The index of the search is one chunk, loaded with the first search.
    build: { chunkSizeWarningLimit: 3000 },
    server: { watch: { ignored: ['**/.cache/**', '**/dist/**', '**/test/**'] } },
    plugins: [
      {
        name: 'source-pages',
        configureServer({ middlewares }) {
          middlewares.use(SOURCE, (req, res, next) => {
            const file = decodeURI(req.url ?? '').replace(/^\/|(\.html)?(\?.*)?$/g, '')
            const isLinked = (each: string): boolean => file === each || file.startsWith(`${each}/`)
            if (![...sources].some(isLinked)) return next()
            res.setHeader('content-type', 'text/html; charset=utf-8')
            res.end(sourcePage(file))
          })
        },
      },
    ],
  },
  transformPageData({ relativePath, frontmatter }) {
    // Names, without their members.
    if (relativePath.startsWith('reference/')) frontmatter['outline'] = 2
  },
  buildEnd({ outDir, site }) {
    writeSourcePages(sources, outDir)
    const problems = deadLinks(outDir, site.base)
    if (problems.length > 0) throw new Error(`Dead links:\n${problems.join('\n')}`)
  },
  themeConfig: {
    nav: ['Start', 'Guides', 'Features', 'Reference', 'Explanation'].flatMap(first),
    sidebar: groups,
    outline: [2, 3],
    search: { provider: 'local' },
  },
})
