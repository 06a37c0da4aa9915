/** The pages of the site, and the order of the sidebar. New files of a listed folder appear by themselves. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export const ROOT = path.join(import.meta.dirname, '..')

/** A kind of pages: those that are listed, then the others of its folder by title. */
interface Group {
  readonly title: string
  readonly listed: readonly string[]
  readonly folder?: string
  readonly collapsed?: boolean
}

/** A group of the sidebar with its pages. */
export interface SidebarGroup {
  text: string
  collapsed: boolean
  items: { text: string; link: string }[]
}

/** Pages of docs/ that no group lists are added to this one. */
const FEATURES = 'Features'

const docs = (...names: string[]): string[] => names.map((name) => `docs/${name}.md`)

/** The pages of the features. The start page leads to each. */
export const FEATURE_PAGES: readonly string[] = docs(
  'rate-limits',
  'sessions',
  'cache',
  'data',
  'idempotency',
  'locks',
  'control',
  'tokens',
  'collections',
  'flags',
  'jobs',
  'realtime',
  'store',
  'extensions',
)

const GROUPS: readonly Group[] = [
  {
    title: 'Start',
    listed: docs('start/express', 'start/koa', 'start/node'),
    folder: 'docs/start',
  },
  { title: 'Guides', listed: docs('deploying', 'redis-setup', 'testing'), folder: 'docs/guides' },
  {
    title: FEATURES,
    listed: FEATURE_PAGES,
  },
  { title: 'Operations', listed: docs('operations', 'services', 'dashboard', 'tracing') },
  { title: 'Migration', listed: [], folder: 'docs/migrate', collapsed: true },
  {
    title: 'Reference',
    listed: docs(
      'reference/index',
      'reference/instance',
      'reference/express',
      'reference/koa',
      'reference/node',
      'reference/events',
      'errors',
      'cli',
      'metrics',
      'reference/environment',
      'reference/headers',
      'reference/keys',
    ),
    folder: 'docs/reference',
    collapsed: true,
  },
  {
    title: 'Explanation',
    listed: docs(
      'lifecycle',
      'guarantees',
      'failure-modes',
      'performance',
      'invariants',
      'rfc9111',
      'platforms',
      'coverage',
      'dependencies',
    ),
  },
  {
    title: 'Project',
    listed: [
      'README.md',
      'CHANGELOG.md',
      'examples/README.md',
      'examples/platforms/README.md',
      'CONTRIBUTING.md',
      'CODE_OF_CONDUCT.md',
      'SECURITY.md',
    ],
    collapsed: true,
  },
]

/** The start page. The sidebar does not list it. */
const HOME = 'docs/index.md'

function markdownOf(folder: string): string[] {
  if (!existsSync(path.join(ROOT, folder))) return []
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => path.posix.join(folder, file.replaceAll('\\', '/')))
    .filter((file) => file.endsWith('.md'))
    .toSorted()
}

/** Returns every page, by its path in the repository. */
export function pages(): string[] {
  const others = GROUPS.flatMap(({ listed }) => listed).filter((page) => !page.startsWith('docs/'))
  return [...markdownOf('docs'), ...others.filter((page) => existsSync(path.join(ROOT, page)))]
}

/** Returns the Markdown files of the root that are not pages. */
export const otherDocuments = (): string[] =>
  readdirSync(ROOT).filter((file) => file.endsWith('.md') && !pages().includes(file))

/** Returns where the site has a page: `docs/cache.md` is `cache.md`. */
export const sitePath = (page: string): string => page.replace(/^docs\//, '')

/** Returns the link to a page, without the base of the site. */
export const linkTo = (page: string): string =>
  `/${sitePath(page)
    .replace(/\.md$/, '')
    .replace(/(^|\/)index$/, '$1')}`

/** Returns the first heading of a page. */
export function titleOf(page: string): string {
  const [, heading] = /^# +(.+)$/m.exec(readFileSync(path.join(ROOT, page), 'utf8')) ?? []
  return heading?.replaceAll('`', '') ?? path.posix.basename(page, '.md')
}

/** Returns the groups that have pages, in the order of the sidebar. */
export function sidebar(): SidebarGroup[] {
  const all = pages().filter((page) => page !== HOME)
  const placed = new Set(GROUPS.flatMap(({ listed }) => listed))
  const inFolder = (page: string, { folder }: Group): boolean =>
    folder !== undefined && page.startsWith(`${folder}/`)
  const restOf = (group: Group): string[] =>
    all
      .filter((page) => !placed.has(page))
      .filter((page) =>
        group.title === FEATURES
          ? !GROUPS.some((other) => inFolder(page, other))
          : inFolder(page, group),
      )
      .toSorted((a, b) => titleOf(a).localeCompare(titleOf(b), 'en'))
  return GROUPS.map((group) => ({
    text: group.title,
    collapsed: group.collapsed ?? false,
    items: [...group.listed.filter((page) => all.includes(page)), ...restOf(group)].map((page) => ({
      text: titleOf(page),
      link: linkTo(page),
    })),
  })).filter(({ items }) => items.length > 0)
}
