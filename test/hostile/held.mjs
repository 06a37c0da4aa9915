// What this process holds: live objects by class, entries of maps and sets by the line that made them,
// timers and listeners. Import it before what it watches.
import { Session } from 'node:inspector'

/** The place in the source where each map or set was made. */
const sites = new WeakMap()
const SELF = import.meta.url

/** Returns the class or function that made a collection; at the top level of a module, the line. */
function siteOf(stack) {
  const frames = stack.split('\n').filter((line) => / at /.test(line) && !line.includes(SELF))
  const [first = ''] = frames
  const maker = first.includes('<instance_members_initializer>') ? frames[1] : first
  const [, name] = /at (?:async )?(?:new )?([#\w.]+) \(/.exec(maker ?? '') ?? []
  return name ?? /([^/]+:\d+):\d+\)?$/.exec(first)?.[1] ?? '?'
}

/** Puts a constructor in the place of a collection's, which notes where it was called. */
function watch(name) {
  const Native = globalThis[name]
  const Watched = function (entries) {
    const target = new.target === Watched ? Native : new.target
    const collection = Reflect.construct(Native, [entries], target)
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 5
    sites.set(collection, new Error('made').stack)
    Error.stackTraceLimit = stackTraceLimit
    return collection
  }
  Watched.prototype = Native.prototype
  globalThis[name] = Object.setPrototypeOf(Watched, Native)
}
watch('Map')
watch('Set')
/** Counts all live objects. Called by the inspector. */
globalThis.countObjects = (objects) => {
  const [numbers, entries] = [{}, {}]
  let timers = 0
  for (const each of objects) {
    const name = classOf(each)
    if (name === undefined) continue
    numbers[name] = (numbers[name] ?? 0) + 1
    if (name === 'Timeout' && each['_destroyed'] === false) timers++
    const stack = name === 'Map' || name === 'Set' ? sites.get(each) : undefined
    if (stack === undefined) continue
    const site = siteOf(stack)
    entries[site] = (entries[site] ?? 0) + each.size
  }
  return { objects: numbers, entries, timers }
}
function classOf(object) {
  try {
    return Object.getPrototypeOf(object)?.constructor?.name || undefined
  } catch {
    // A proxy, or an object of another realm.
    return undefined
  }
}

const inspector = new Session()
inspector.connect()
const post = (method, params) =>
  new Promise((resolve, reject) =>
    inspector.post(method, params, (error, result) => (error ? reject(error) : resolve(result))),
  )
/** Counts all live objects. One question: each walks the whole heap. */
async function liveObjects() {
  const objectGroup = 'counts'
  const { result } = await post('Runtime.evaluate', { expression: 'Object.prototype', objectGroup })
  const { objects } = await post('Runtime.queryObjects', {
    prototypeObjectId: result.objectId,
    objectGroup,
  })
  const counted = await post('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: 'function () { return countObjects(this) }',
    returnByValue: true,
  })
  await post('Runtime.releaseObjectGroup', { objectGroup })
  return counted.result.value
}

const listenersOf = (emitter) =>
  emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)

/** What is held now. @param emitters the lists of which each may have some listeners */
export async function held(emitters) {
  const most = (list) => Math.max(0, ...list.map(listenersOf))
  const live = await liveObjects()
  return {
    ...live,
    listeners: listenersOf(process) + emitters.reduce((sum, list) => sum + most(list), 0),
    heap: process.memoryUsage().heapUsed / 2 ** 20,
  }
}

export const stopWatching = () => inspector.disconnect()
