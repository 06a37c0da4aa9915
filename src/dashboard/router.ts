/** Answers the requests of people who operate an application. */
// oxlint-disable-next-line typescript/triple-slash-reference -- Programs that include no more than they import see it, too.
/// <reference path="./script.d.ts" />
import type { ExtensionContext } from '../extension.ts'
import { peekBody } from '../http/request-body.ts'
import type { Exchange, Plan } from '../http/exchange.ts'
import type { DashboardRequest, DashboardServer } from '../operations/dashboard.ts'
import { isObject } from '../validate.ts'
import type { TargetInstance } from '../commands/target.ts'
import { Actions } from './actions.ts'
import { Connection } from './connection.ts'
import { LiveStreams } from './live-streams.ts'
import { isCrossSite, isOwnChange } from './origin.ts'
import { isPageName, PageReader } from './pages.ts'
import { dataPlan, redirectPlan, refusalPlan, replyPlan } from './replies.ts'
// oxlint-disable-next-line import/default -- The build makes a string of the module.
import script from './client/main.ts?script'
import { STYLE } from './style.ts'

/** The one document. All addresses in it are relative, so it works below any path. */
const DOCUMENT = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>turnpike</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="app.css">
<script src="app.js" defer></script>
</head>
<body><noscript>The dashboard needs JavaScript.</noscript></body>
</html>
`
/** Longest request for a change, in bytes. */
const MAX_BODY = 16_384

/** The dashboard of one instance. All its mounts share the connection and the streams. */
export class DashboardRouter implements DashboardServer {
  readonly #pages: PageReader
  readonly #actions: Actions
  readonly #streams: LiveStreams
  readonly #context: ExtensionContext

  constructor(tp: TargetInstance, context: ExtensionContext) {
    const connection = new Connection(tp)
    this.#context = context
    this.#pages = new PageReader(connection)
    this.#actions = new Actions(connection, () => this.#pages.forget())
    this.#streams = new LiveStreams((page, user) => this.#pages.read(page, {}, user))
    // A stream would keep its server from closing.
    context.closing.addEventListener('abort', () => this.#streams.endAll())
    context.onClose(() => connection.close())
  }

  async serve(request: DashboardRequest): Promise<Plan> {
    const { path, x } = request
    if (path.startsWith('actions/')) return await this.#act(request)
    if (x.method !== 'GET' && x.method !== 'HEAD') return notFound()
    switch (path) {
      case '':
        return documentOf(x)
      case 'app.js':
        return replyPlan(200, 'text/javascript; charset=utf-8', script)
      case 'app.css':
        return replyPlan(200, 'text/css; charset=utf-8', STYLE)
      default:
        return isCrossSite(x) ? notFound() : await this.#data(request)
    }
  }

  async #data({ jobs, path, user, x }: DashboardRequest): Promise<Plan> {
    if (path === 'data/me') {
      const { hasTenants } = this.#context
      return dataPlan(200, JSON.stringify({ ...user, hasTenants, jobs: jobs ?? null }))
    }
    const [, kind, page = ''] = /^(data|stream)\/(\w+)$/.exec(path) ?? []
    if (kind === undefined || !isPageName(page)) return notFound()
    if (kind === 'stream') return this.#streams.open(page, user, x.method === 'HEAD')
    const query = Object.fromEntries(new URLSearchParams(x.routedUrl.split('?')[1] ?? ''))
    return dataPlan(200, await this.#pages.read(page, query, user))
  }

  async #act({ path, user, x }: DashboardRequest): Promise<Plan> {
    const kind = path.slice('actions/'.length)
    if (x.method !== 'POST' || (kind !== 'preview' && kind !== 'run')) return notFound()
    if (user.can !== 'operate') return refusalPlan(403, 'You may view, and change nothing.')
    if (!isOwnChange(x))
      return refusalPlan(403, 'Changes come as JSON from a page of this dashboard only.')
    const body = await readObject(x)
    if (body === undefined) return refusalPlan(400, 'The body must be a JSON object.')
    const { json, status } = await this.#actions[kind](body, user)
    return dataPlan(status, json)
  }
}

const notFound = (): Plan => replyPlan(404, 'text/plain; charset=utf-8', '')

/** Relative addresses need the slash at the end of the path. */
function documentOf({ url }: Exchange): Plan {
  const path = url.split('?', 1)[0]!
  if (path.endsWith('/')) return replyPlan(200, 'text/html; charset=utf-8', DOCUMENT)
  return redirectPlan(`./${path.slice(path.lastIndexOf('/') + 1)}/`)
}

async function readObject({ native }: Exchange): Promise<Record<string, unknown> | undefined> {
  const body = await peekBody(native, MAX_BODY)
  if (body.kind === 'parsed') return isObject(body.value) ? body.value : undefined
  if (body.kind !== 'raw' || !body.isWhole) return undefined
  try {
    const value: unknown = JSON.parse(body.bytes.toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
