/** What each page shows, as JSON. It comes from the commands of the program `turnpike`. */
import { audit } from '../commands/audit.ts'
import { cacheLs, cacheShow } from '../commands/cache.ts'
import { toCommandError } from '../commands/command-error.ts'
import type { Command, CommandCall, CommandError } from '../commands/command.ts'
import { doctor } from '../commands/doctor.ts'
import { idempotencyFind } from '../commands/idempotency.ts'
import { limits, limitsShow, type LimitRow } from '../commands/limits.ts'
import { locks } from '../commands/locks.ts'
import { processes } from '../commands/processes.ts'
import { rules } from '../commands/rules.ts'
import { sessions } from '../commands/sessions.ts'
import type { DashboardUser } from '../operations/dashboard.ts'
import { subjectOfTag } from '../store/keys.ts'
import type { Connection } from './connection.ts'
import { maskAddresses } from './mask.ts'
import { readCacheCounts, readOverview } from './overview.ts'

/** The query of a request. Every value comes from a client. */
type Query = Readonly<Record<string, string | undefined>>
type Ask = (
  command: Command,
  args?: readonly string[],
  options?: CommandCall['options'],
) => Promise<unknown>

interface Page {
  /** How long a reading is shared, in ms. */
  readonly keepMs: number
  read(ask: Ask, query: Query, connection: Connection): Promise<unknown>
}

const LIVE = 2000
/** Scans are bounded, and still not for every viewer. */
const SCANNED = 10_000
/** Bounds of a scan that a page asks for. */
const BOUNDS = { limit: '300', seconds: '3' }

const PAGES: Readonly<Record<PageName, Page>> = {
  overview: {
    keepMs: LIVE,
    read: (_ask, { tenant }, connection) =>
      connection.use(tenant, (target) => readOverview(target, connection.history)),
  },
  limits: {
    keepMs: LIVE,
    async read(ask, { subject }) {
      const given = subject === undefined ? await ask(limits) : await ask(limitsShow, [subject])
      const { limits: rows, ...rest } = given as { limits: readonly LimitRow[] }
      // A button needs the subject as it was passed. Keys contain it escaped.
      return { ...rest, limits: rows.map((row) => ({ ...row, of: subjectOfTag(row.subject) })) }
    },
  },
  rules: { keepMs: LIVE, read: (ask) => ask(rules) },
  cache: {
    keepMs: LIVE,
    async read(ask, { list, tenant, url }, connection) {
      if (url !== undefined) return await ask(cacheShow, [url])
      if (list !== undefined) return await ask(cacheLs, [], BOUNDS)
      return { caches: await connection.use(tenant, readCacheCounts) }
    },
  },
  sessions: {
    keepMs: LIVE,
    read: async (ask, { user }) => (user === undefined ? {} : await ask(sessions, [user])),
  },
  locks: {
    keepMs: SCANNED,
    read: async (ask, { list, name }) => {
      if (name !== undefined) return await ask(locks, [name])
      return list === undefined ? {} : await ask(locks, [], BOUNDS)
    },
  },
  idempotency: {
    keepMs: SCANNED,
    read: async (ask, { list, state }) =>
      list === undefined ? {} : await ask(idempotencyFind, [], { ...BOUNDS, state }),
  },
  processes: { keepMs: LIVE, read: (ask) => ask(processes) },
  redis: { keepMs: SCANNED, read: (ask) => ask(doctor, [], { all: true }) },
  audit: { keepMs: LIVE, read: (ask) => ask(audit) },
}

/** Name of a page, as its address contains it. */
export type PageName =
  | 'overview'
  | 'limits'
  | 'rules'
  | 'cache'
  | 'sessions'
  | 'locks'
  | 'idempotency'
  | 'processes'
  | 'redis'
  | 'audit'

export const isPageName = (name: string): name is PageName => Object.hasOwn(PAGES, name)

/** Parts of a query that pages know. Others do not make a reading of its own. */
const KNOWN = ['list', 'name', 'state', 'subject', 'tenant', 'url', 'user'] as const
const MAX_VALUE = 2000
const MAX_READINGS = 100

interface Reading {
  readonly until: number
  readonly json: Promise<string>
  masked?: Promise<string>
}

/** Reads pages. Viewers who ask for the same within a moment get the same reading. */
export class PageReader {
  readonly #connection: Connection
  readonly #readings = new Map<string, Reading>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Returns a page as JSON, with masked addresses for people who may only view. */
  async read(name: PageName, query: Query, user: DashboardUser): Promise<string> {
    const reading = this.#readingOf(name, query)
    if (user.can === 'operate') return await reading.json
    return await (reading.masked ??= reading.json.then(maskAddresses))
  }

  /** Forgets all readings: something was changed. */
  forget(): void {
    this.#readings.clear()
  }

  #readingOf(name: PageName, query: Query): Reading {
    const known = KNOWN.flatMap((key): [string, string][] => {
      const value = query[key]
      return value === undefined || value === '' ? [] : [[key, value.slice(0, MAX_VALUE)]]
    })
    const id = JSON.stringify([name, known])
    const now = performance.now()
    const found = this.#readings.get(id)
    if (found !== undefined && found.until > now) return found
    const page = PAGES[name]
    const reading = {
      until: now + page.keepMs,
      json: this.#fresh(name, page, Object.fromEntries(known)),
    }
    this.#readings.delete(id)
    this.#readings.set(id, reading)
    if (this.#readings.size > MAX_READINGS)
      this.#readings.delete(this.#readings.keys().next().value!)
    return reading
  }

  async #fresh(name: PageName, page: Page, query: Query): Promise<string> {
    const warnings: string[] = []
    const ask: Ask = async (command, args = [], options = {}) => {
      const call = { args, options, warn: (message: string) => void warnings.push(message) }
      return (await this.#connection.run(command, call, query['tenant'])).data
    }
    try {
      const data = await page.read(ask, query, this.#connection)
      return JSON.stringify({ page: name, data, warnings })
    } catch (error) {
      const known = toCommandError(error)
      if (known === undefined) throw error
      return errorDocument(name, known)
    }
  }
}

const errorDocument = (page: string, { exit, message }: CommandError): string =>
  JSON.stringify({ page, error: { code: exit, message } })
