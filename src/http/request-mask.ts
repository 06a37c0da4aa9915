/** Shows inner middlewares other header fields, or another query, than the client sent. */
import type { IncomingMessage } from 'node:http'

type SelectQuery = (query: string) => string
type Undo = () => void

/** What Express and Connect keep of a request's target. */
interface ConnectTarget {
  url?: string
  originalUrl?: string
  /** Express 4 parses the query once. Express 5 parses it at each access. */
  query?: unknown
  app?: { get?(setting: string): unknown }
}

/** What Koa keeps of a request's target. */
interface KoaTarget {
  readonly req: { url?: string | undefined }
  originalUrl: string
  readonly request: { originalUrl: string; memoizedURL?: unknown }
}

/** Changes the query of a request in Express or Connect. Returns the function that undoes it. */
export function maskConnectQuery(req: IncomingMessage, select: SelectQuery): Undo | undefined {
  const target = req as ConnectTarget
  const { url = '/', originalUrl, query } = target
  const masked = withQuery(url, select)
  const maskedOriginal = originalUrl && withQuery(originalUrl, select)
  if (masked === url && maskedOriginal === originalUrl) return undefined
  target.url = masked
  if (maskedOriginal !== undefined) target.originalUrl = maskedOriginal
  const isParsed = Object.hasOwn(target, 'query')
  if (isParsed) target.query = parsedQuery(target, masked, select)
  return () => {
    target.url = url
    if (originalUrl !== undefined) target.originalUrl = originalUrl
    if (isParsed) target.query = query
  }
}

/** Changes the query of a request in Koa. Returns the function that undoes it. */
export function maskKoaQuery(ctx: KoaTarget, select: SelectQuery): Undo | undefined {
  const { req, request, originalUrl } = ctx
  const { url = '/' } = req
  const masked = withQuery(url, select)
  const maskedOriginal = withQuery(originalUrl, select)
  if (masked === url && maskedOriginal === originalUrl) return undefined
  const set = (url: string, originalUrl: string): void => {
    req.url = url
    ctx.originalUrl = originalUrl
    request.originalUrl = originalUrl
    // Koa keeps `ctx.URL` from its first access on.
    if (request.memoizedURL !== undefined) request.memoizedURL = undefined
  }
  set(masked, maskedOriginal)
  return () => set(url, originalUrl)
}

/** Returns a target with another query. */
function withQuery(url: string, select: SelectQuery): string {
  const mark = url.indexOf('?')
  if (mark < 0) return url
  const query = select(url.slice(mark + 1))
  return query === '' ? url.slice(0, mark) : `${url.slice(0, mark)}?${query}`
}

/** Returns the parsed query of a masked target, by the application's parser. */
function parsedQuery({ app, query }: ConnectTarget, url: string, select: SelectQuery): unknown {
  const parse = app?.get?.('query parser fn')
  const mark = url.indexOf('?')
  if (typeof parse === 'function')
    return (parse as (query: string) => unknown)(mark < 0 ? '' : url.slice(mark + 1))
  if (typeof query !== 'object' || query === null) return query
  // Parsed by another package: the names that are selected stay.
  return Object.fromEntries(
    Object.entries(query).filter(([name]) => select(encodeURIComponent(name)) !== ''),
  )
}

/** Sets request headers; undefined hides one. @returns the function that undoes it */
export function maskHeaders(
  req: IncomingMessage,
  fields: Record<string, string | undefined>,
): () => void {
  const { headers } = req
  const before = Object.keys(fields).map((name) => [name, headers[name]] as const)
  for (const [name, value] of Object.entries(fields)) set(headers, name, value)
  return () => {
    for (const [name, value] of before) set(headers, name, value)
  }
}

function set(
  headers: IncomingMessage['headers'],
  name: string,
  value: string | string[] | undefined,
): void {
  if (value === undefined) delete headers[name]
  else headers[name] = value
}
