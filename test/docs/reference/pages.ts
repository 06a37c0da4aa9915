/** Which page of the reference has which names. */
import { entries } from './compiler.ts'
import type { NameEntry } from './model.ts'

/** A page of the reference. */
export interface ReferencePage {
  /** Its file in docs/reference/, without the extension. */
  readonly file: string
  readonly title: string
  /** What one imports from. */
  readonly entry: string
  readonly summary: string
  /** The page that shows how it is used. */
  readonly guide?: string
  /** Folders and files of src/ whose names are here. The first page that names one has it. */
  readonly sources: readonly string[]
}

const MAIN = 'turnpike'

const PAGES: readonly ReferencePage[] = [
  {
    file: 'instance',
    title: 'The instance',
    entry: MAIN,
    summary:
      'What `turnpike()` takes and returns, its errors, and the types that all features share.',
    guide: 'store.md',
    // Also everything that no other page has.
    sources: ['turnpike.ts', 'index.ts'],
  },
  {
    file: 'events',
    title: 'Events',
    entry: MAIN,
    summary:
      'What `tp.on()` reports. The same events go to `node:diagnostics_channel` as `turnpike:<name>`.',
    guide: 'store.md#events',
    sources: ['events.ts', 'event-types.ts'],
  },
  {
    file: 'express',
    title: 'turnpike/express',
    entry: 'turnpike/express',
    summary: 'turnpike for Express 4 and 5.',
    sources: ['express.ts', 'express/'],
  },
  {
    file: 'koa',
    title: 'turnpike/koa',
    entry: 'turnpike/koa',
    summary: 'turnpike for Koa 2 and 3.',
    sources: ['koa.ts', 'koa/'],
  },
  {
    file: 'node',
    title: 'turnpike/node',
    entry: 'turnpike/node',
    summary: 'turnpike for node:http, Connect, Polka and Restify.',
    sources: ['node.ts'],
  },
  {
    file: 'rate-limits',
    title: 'Rate limits',
    entry: MAIN,
    summary:
      '`tp.rateLimit()`, `tp.limiter()`, `tp.loginGuard()`, `tp.overrides`, `tp.key` and `tp.cost`.',
    guide: 'rate-limits.md',
    sources: ['features/rate-limit/'],
  },
  {
    file: 'sessions',
    title: 'Sessions',
    entry: MAIN,
    summary: '`tp.session()`, `tp.sessions`, `tp.sessionStore()` and `asNodeRedis()`.',
    guide: 'sessions.md',
    sources: ['features/session/'],
  },
  {
    file: 'cache',
    title: 'Response caching',
    entry: MAIN,
    summary: '`tp.cache()` and `tp.invalidate()`.',
    guide: 'cache.md',
    sources: ['features/cache/', 'caching/'],
  },
  {
    file: 'data',
    title: 'Plain values',
    entry: MAIN,
    summary: '`tp.data`.',
    guide: 'data.md',
    sources: ['features/data/'],
  },
  {
    file: 'idempotency',
    title: 'Idempotency keys',
    entry: MAIN,
    summary: '`tp.idempotency()`.',
    guide: 'idempotency.md',
    sources: ['features/idempotency/'],
  },
  {
    file: 'locks',
    title: 'Locks and semaphores',
    entry: MAIN,
    summary: '`tp.lock()`, `tp.exclusive()`, `tp.once()`, `tp.semaphore()` and `tp.concurrency()`.',
    guide: 'locks.md',
    sources: ['features/lock/', 'features/semaphore/'],
  },
  {
    file: 'health',
    title: 'Health',
    entry: MAIN,
    summary: '`tp.health()`.',
    guide: 'store.md#life-cycle-and-health',
    sources: ['features/health/'],
  },
  {
    file: 'control',
    title: 'Control',
    entry: MAIN,
    summary: '`tp.control`, `tp.gate()` and `tp.ban()`.',
    guide: 'control.md',
    sources: ['control/', 'operations/control/'],
  },
  {
    file: 'operations',
    title: 'Operations',
    entry: MAIN,
    summary: '`tp.processes()`, `tp.alerts()`, `tp.metrics()` and `tp.dashboard()`.',
    guide: 'operations.md',
    sources: ['operations/', 'dashboard/'],
  },
  {
    file: 'collections',
    title: 'turnpike/collections',
    entry: 'turnpike/collections',
    summary: '',
    guide: 'collections.md',
    sources: ['collections.ts', 'extensions/collections/'],
  },
  {
    file: 'flags',
    title: 'turnpike/flags',
    entry: 'turnpike/flags',
    summary: '',
    guide: 'flags.md',
    sources: ['flags.ts', 'extensions/flags/'],
  },
  {
    file: 'jobs',
    title: 'turnpike/jobs',
    entry: 'turnpike/jobs',
    summary: '',
    guide: 'jobs.md',
    sources: ['jobs.ts', 'extensions/jobs/'],
  },
  {
    file: 'otel',
    title: 'turnpike/otel',
    entry: 'turnpike/otel',
    summary: '',
    guide: 'tracing.md',
    sources: ['otel.ts', 'extensions/otel/'],
  },
  {
    file: 'realtime',
    title: 'turnpike/realtime',
    entry: 'turnpike/realtime',
    summary: '',
    guide: 'realtime.md',
    sources: ['realtime.ts', 'extensions/realtime/'],
  },
  {
    file: 'tokens',
    title: 'turnpike/tokens',
    entry: 'turnpike/tokens',
    summary: '',
    guide: 'tokens.md',
    sources: ['tokens.ts', 'extensions/tokens/'],
  },
  {
    file: 'extension',
    title: 'turnpike/extension',
    entry: 'turnpike/extension',
    summary: '',
    guide: 'extensions.md',
    sources: [],
  },
  {
    file: 'testing',
    title: 'turnpike/testing',
    entry: 'turnpike/testing',
    summary: '',
    guide: 'testing.md',
    sources: ['testing.ts', 'testing/'],
  },
]

/** The page of an entry that is not listed above. */
const pageOfEntry = (name: string): ReferencePage => ({
  file: name,
  title: `turnpike/${name}`,
  entry: `turnpike/${name}`,
  summary: '',
  sources: [`${name}.ts`, `extensions/${name}/`],
})

/** Every page, and the order of the index. Each entry of the package has one. */
export const REFERENCE_PAGES: readonly ReferencePage[] = [
  ...PAGES,
  ...entries
    .filter((name) => !name.includes('/') && name !== 'index')
    .filter((name) => !PAGES.some(({ entry }) => entry === `turnpike/${name}`))
    .map(pageOfEntry),
]

const [instance] = REFERENCE_PAGES

/**
 * Returns the page of a name: by its file, else by the entry that exports it.
 * @param entry the first entry that exports the name, for example `turnpike/extension`
 */
export function pageOf({ file }: NameEntry, entry: string): ReferencePage {
  const bySource = REFERENCE_PAGES.find(({ sources }) =>
    sources.some((source) => (source.endsWith('/') ? file.startsWith(source) : file === source)),
  )
  // What only extensions see belongs to their page, whichever file declares it.
  const byEntry = REFERENCE_PAGES.find((page) => page.entry === entry)
  if (entry === 'turnpike' || byEntry === undefined) return bySource ?? instance!
  return byEntry
}
