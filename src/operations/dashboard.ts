/** `tp.dashboard()`: pages for the people who operate an application. Loaded at the first request that may see them. */
import type { ExtensionContext } from '../extension.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../http/exchange.ts'
import { callback, isObject, optionError, validateOptions, type Validator } from '../validate.ts'

/** Who looks at the dashboard. */
export interface DashboardUser {
  /** `view`: reads, with masked addresses. `operate`: also changes. */
  readonly can: 'view' | 'operate'
  /** Name of the person, as the audit notes it: 1 to 200 characters. */
  readonly who: string
}

/** Options of `tp.dashboard()`. */
export interface DashboardOptions<Native> {
  /**
   * Who sends the request, and what they may do. It is called for each request: pages, assets, data,
   * the stream and actions. Every other result than a `DashboardUser` replies 404.
   * @example (req) => req.session.isAdmin ? { can: 'operate', who: req.session.email } : undefined
   */
  authorize: (native: Native) => unknown
  /**
   * Path of the dashboard, where no router has removed it from the URL: in node:http, and in Koa
   * without koa-mount. Requests elsewhere pass.
   * @default none: the middleware is mounted at the path of the dashboard
   * @example '/ops'
   */
  path?: string
  /**
   * Address of a page about jobs, for example of bull-board. The dashboard links to it.
   * @default none
   * @example '/jobs'
   */
  jobs?: string
}

/** The dashboard of an instance. */
export interface DashboardApi<Native, Middleware> {
  /**
   * Returns a middleware that serves pages for the people who operate the application. They show
   * limits, caches, sessions, locks, processes, Redis and the audit. See docs/dashboard.md.
   * @throws TP_OPTION without `authorize`
   * @example
   * app.use('/ops', tp.dashboard({ authorize: (req) => operatorOf(req) }))
   */
  dashboard(options: DashboardOptions<Native>): Middleware
}

/** A request to the dashboard that may be answered. */
export interface DashboardRequest {
  readonly x: Exchange
  /** Path below the dashboard's, without a leading slash. */
  readonly path: string
  readonly user: DashboardUser
  readonly jobs: string | undefined
}

/** What answers requests to the dashboard. */
export interface DashboardServer {
  serve(request: DashboardRequest): Promise<Plan>
}

const WHERE = 'tp.dashboard()'
const pathValidator: Validator = {
  expected: "a path like '/ops'",
  accepts: (value) => typeof value === 'string' && /^(\/[\w.~-]+)+$/.test(value),
}
const linkValidator: Validator = {
  expected: "a path like '/jobs', or an http(s) URL",
  accepts: (value) =>
    typeof value === 'string' &&
    (/^\/(?![/\\])[^\s\\]*$/.test(value) || (/^https?:\/\//.test(value) && URL.canParse(value))),
}

/** What everybody else gets. It does not say that there is a dashboard. */
const NOT_FOUND: Plan = {
  reply: { status: 404, headers: { 'Cache-Control': 'no-store' }, body: '' },
}

/** Creates the dashboard of an instance. @param load loads what answers, once */
export function createDashboard<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  load: () => Promise<DashboardServer>,
): { api: DashboardApi<Native, Middleware> } {
  let server: Promise<DashboardServer> | undefined
  function feature({ authorize, jobs, path }: DashboardOptions<Native>): Feature<Native> {
    async function handle(x: Exchange<Native>): Promise<Plan> {
      const below = pathBelow(x, path)
      if (below === undefined) return passThrough
      const user = userOf(await authorize(x.native))
      if (user === undefined) return NOT_FOUND
      server ??= load()
      return await (await server).serve({ x, path: below, user, jobs })
    }
    return { name: 'dashboard', onBackground: 'skip', handle }
  }
  return {
    api: {
      dashboard(options) {
        validateOptions(WHERE, options ?? {}, {
          authorize: callback,
          path: pathValidator,
          jobs: linkValidator,
        })
        if (options?.authorize === undefined)
          throw optionError(
            WHERE,
            'authorize',
            undefined,
            "a function that returns { can: 'view' | 'operate', who } for operators",
          )
        return context.mount(feature(options))
      },
    },
  }
}

/** Returns the user that a result of `authorize` names. JavaScript may return anything. */
function userOf(value: unknown): DashboardUser | undefined {
  if (!isObject(value)) return undefined
  const { can, who } = value
  if (can !== 'view' && can !== 'operate') return undefined
  if (typeof who !== 'string' || who.trim() === '' || who.length > 200) return undefined
  return { can, who }
}

const pathOf = (url: string): string => url.split('?', 1)[0]!

/** Returns the path below the dashboard's. Undefined for a request elsewhere. */
function pathBelow(x: Exchange, own: string | undefined): string | undefined {
  const path = pathOf(x.routedUrl)
  // Below a mount path the framework has removed it.
  if (own === undefined || path !== pathOf(x.url)) return path.slice(1)
  return path === own || path.startsWith(`${own}/`) ? path.slice(own.length + 1) : undefined
}
