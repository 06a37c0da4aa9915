/**
 * The pattern of the route that Express has matched, mount patterns included. Express tells only the
 * mount path as the client wrote it (`req.baseUrl`), which differs by case and by parameters.
 */
import type { IncomingMessage } from 'node:http'

type Pattern = string | RegExp | readonly (string | RegExp)[]

/** A layer of Express's router, as far as it is the same in Express 4 and 5. */
interface Layer {
  route?: object
  handle?: { stack?: readonly Layer[] }
  name?: string
  /** router 2.3 and later. */
  rawPath?: Pattern
  /** Express 5. */
  matchers?: readonly ((path: string) => { path: string; params: Params } | false)[]
  /** Express 4. */
  regexp?: RegExp & { fast_slash?: boolean; fast_star?: boolean }
  keys?: readonly { name: string | number }[]
}
type Params = Record<string, string | readonly string[]>

interface Application {
  _router?: { stack?: readonly Layer[] }
  router?: { stack?: readonly Layer[] }
  parent?: Application
  mountpath?: Pattern
}

interface Routed extends IncomingMessage {
  app?: Application
  baseUrl?: string
  route?: { path?: Pattern }
}

/** Where a router is: the mount patterns on the way to it, and how much of the path they have consumed. */
interface Place {
  readonly pattern: string
  readonly length: number
  /** The stacks on the way: a router can be mounted in itself. */
  readonly way: readonly (readonly Layer[])[]
}

/** By route: its pattern, or undefined for one that is mounted at several places. Routes live as long as the application. */
const known = new WeakMap<object, string | undefined>()

/**
 * Returns the matched route's pattern. Before a route is matched, that of the router's mount.
 * @returns undefined where neither is known
 */
export function expressRoute(req: IncomingMessage): string | undefined {
  const { app, baseUrl = '', route } = req as Routed
  const own = route?.path === undefined ? '' : String(route.path)
  if (baseUrl === '') return own || undefined
  if (route !== undefined) {
    const pattern = known.get(route)
    if (pattern !== undefined) return pattern
  }
  const places = app === undefined ? [] : placesOf(app, baseUrl, route)
  const [mount = baseUrl.toLowerCase()] = places.toSorted(byParameters)
  const pattern = `${mount}${own}`
  if (app !== undefined && route !== undefined && places.length === 1 && !known.has(route))
    known.set(route, occurrences(stackOf(app), route) === 1 ? pattern : undefined)
  return pattern
}

/** Returns at how many places a route is mounted. */
function occurrences(
  stack: readonly Layer[],
  route: object,
  way: readonly (readonly Layer[])[] = [],
): number {
  if (way.includes(stack)) return 0
  let count = 0
  for (const layer of stack) {
    if (layer.route === route) count++
    else if (layer.handle?.stack) count += occurrences(layer.handle.stack, route, [...way, stack])
  }
  return count
}

/** Literal mounts first: `/shops` is more exact than `/:section`. */
const byParameters = (one: string, other: string): number =>
  one.split(':').length - other.split(':').length

/** Returns the mount patterns under which the route, or a router at this path, is mounted. */
function placesOf(app: Application, path: string, route: object | undefined): string[] {
  const found = new Set<string>()
  for (const place of prefixesOf(app, path)) search(stackOf(app), path, route, place, found)
  return [...found]
}

/** Returns where an application is mounted in others. */
function prefixesOf({ parent, mountpath = '' }: Application, path: string): Place[] {
  if (parent === undefined) return [{ pattern: '', length: 0, way: [] }]
  const layers = stackOf(parent).filter(({ name }) => name === 'mounted_app')
  return prefixesOf(parent, path).flatMap((place) =>
    layers.flatMap((layer) => within(layer, path, place, mountpath) ?? []),
  )
}

function stackOf(app: Application): readonly Layer[] {
  // In Express 4, reading `app.router` throws.
  const { _router: router = 'lazyrouter' in app ? undefined : app.router } = app
  return router?.stack ?? []
}

/** Looks for the route, or for routers at this path, below a place. */
function search(
  stack: readonly Layer[],
  path: string,
  route: object | undefined,
  place: Place,
  found: Set<string>,
): void {
  const isHere = place.length === path.length
  if (isHere && (route === undefined || stack.some((layer) => layer.route === route)))
    found.add(place.pattern)
  for (const layer of stack) {
    const inner = layer.route === undefined ? layer.handle?.stack : undefined
    if (inner === undefined || place.way.includes(inner)) continue
    const deeper = within(layer, path, { ...place, way: [...place.way, stack] })
    if (deeper !== undefined) search(inner, path, route, deeper, found)
  }
}

/** Returns the place behind a layer; undefined if the layer does not match the rest of the path. */
function within(layer: Layer, path: string, place: Place, own?: Pattern): Place | undefined {
  const consumed = consumedBy(layer, path.slice(place.length))
  if (consumed === undefined) return undefined
  return {
    pattern: place.pattern + patternOf(layer, own),
    length: place.length + consumed.length,
    way: place.way,
  }
}

/** Returns the part of the path that a layer matches; undefined if it matches none. */
function consumedBy(layer: Layer, path: string): string | undefined {
  try {
    if (layer.regexp !== undefined)
      return layer.regexp.fast_slash ? '' : trim(layer.regexp.exec(path)?.[0])
    if (layer.matchers === undefined) return undefined
    if (layer.rawPath === '/') return ''
    for (const match of layer.matchers) {
      const matched = match(path)
      if (matched !== false) return trim(matched.path)
    }
  } catch {
    // A path that cannot be decoded matches nothing.
  }
  return undefined
}

const trim = (path: string | undefined): string | undefined => path?.replace(/\/$/, '')

/** Returns the pattern that a layer was mounted with. @param own the pattern, if it is known otherwise */
function patternOf(layer: Layer, own: Pattern | undefined = layer.rawPath): string {
  const pattern = own === undefined ? patternOfRegExp(layer) : String(own)
  return pattern === '/' ? '' : pattern
}

/** Returns the pattern that Express 4 has compiled; the regular expression itself if it is more than a plain one. */
function patternOfRegExp({ regexp, keys = [] }: Layer): string {
  if (regexp === undefined || regexp.fast_slash) return ''
  let index = 0
  const plain = regexp.source
    .replace(/^\^/, '')
    .replace(/\\\/\?\(\?=\\\/\|\$\)$/, '')
    .replaceAll(/\(\?:\\?\/?\(\[\^\\?\/\]\+\?\)\)|\(\[\^\\?\/\]\+\?\)/g, (group) => {
      const slash = group.includes('(?:\\/(') || group.includes('(?:/(') ? '/' : ''
      return `${slash}:${keys[index++]?.name ?? index}`
    })
    .replaceAll(/\\([/.-])/g, '$1')
  return /^[\w/:.~-]*$/.test(plain) ? plain : regexp.source
}
