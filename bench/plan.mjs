/** What is measured, by how much effort. */
import { isInEveryTable } from './pairs.mjs'
import { choose } from './variants.mjs'

/** `warm`: requests before anything is measured; with much fewer, V8 is still at work. */
export const EFFORTS = {
  quick: { warm: 5000, rounds: 3, ms: 300, serial: { near: 50, far: 15 } },
  docs: { warm: 12_000, rounds: 5, ms: 300, serial: { near: 100, far: 25 } },
  full: { warm: 20_000, rounds: 7, ms: 2000, serial: { near: 500, far: 100 } },
}
/** Where only trips and commands are counted, V8 may be at work. */
const WARM_FOR_SERIAL = 2000

const CROWD = 64
const throughput = (name, delay, connections, more) => ({
  name,
  by: 'throughput',
  delay,
  connections,
  ...more,
})
const AT_ONCE = throughput('0 ms', 0, CROWD)
const NEAR = throughput('1 ms', 1, CROWD)
/** So few that the application mostly waits. */
const FEW = throughput('1 ms, c=8', 1, 8)
/** A median that is all waiting needs few rounds. */
const FAR = throughput('5 ms', 5, 8, { rounds: 2 })
const SERIAL = { name: 'serial', by: 'serial' }
/** In a short run, `ms` is a third. */
const openLoop = (delay) => ({
  name: `open loop, ${delay} ms`,
  by: 'openLoop',
  delay,
  connections: CROWD,
  ms: 1200,
})
const STEADY = { name: 'steady', by: 'steady', delay: 1, connections: CROWD, ms: 6000 }

/** Groups that a short run leaves to the long one. */
const ASIDE = ['Express 4, GET', 'Koa 3', 'Koa 3, GET']
/** The only group that the document has of the other versions of Node beside the features. */
const STACK = 'Express 5, GET'

/**
 * Each starts the applications of a group once, directly at Redis or through the proxy.
 * @param isFirst with the first Node named: the docs have less of the others
 */
export function sectionsOf(variants, { kind, only, isFirst }) {
  const chosen = choose(variants, only?.split(',') ?? [''])
  const sections = []
  for (const group of new Set(chosen.map((variant) => variant.group))) {
    const members = chosen.filter((variant) => variant.group === group)
    const isStack = members[0].id.includes('stack')
    const isAside = !only && ASIDE.includes(group)
    if (isAside && (kind === 'quick' || (kind === 'docs' && !(isStack && isFirst)))) continue
    const isShort = kind === 'docs' && !only && !isFirst
    if (isShort && isStack && group !== STACK) continue
    // The other frameworks are for comparison: bare, lower bound, and three windows.
    const few = ({ id }) => /\/(bare|ping|.*-3)$/.test(id)
    const needed = ({ id }) => isInEveryTable(id)
    const section = (where, distant, kinds) => ({
      name: `${group}, ${where}`,
      group,
      variants: members.filter(isAside && kind === 'docs' ? few : isShort ? needed : () => true),
      distant,
      kinds,
      ...(kinds.every((each) => each === SERIAL) && { warm: WARM_FOR_SERIAL }),
    })
    // Latency and steady use take long. A short run has them only of variants that are named.
    const isWhole = group === STACK && (kind === 'quick' ? only : isFirst)
    const long = (each) =>
      !isWhole ? [] : [kind === 'quick' ? { ...each, ms: each.ms / 3 } : each]
    sections.push(section('at Redis', false, [AT_ONCE, ...long(openLoop(0))]))
    const isAwaited = members.some(({ id }) => /^(session|idempotency)-/.test(id))
    const far = distances(kind, { isStack, isAwaited, isFirst })
    if (far.length === 0) continue
    const kinds = [...far, ...long(openLoop(1)), ...long(STEADY)]
    sections.push(section('at a distance', true, kinds))
  }
  return sections
}

/** @param isAwaited a feature that has a goal of its own for a Redis that is away */
function distances(kind, { isStack, isAwaited, isFirst }) {
  if (kind === 'docs' && !isFirst) return []
  if (isStack) return [NEAR, FAR, SERIAL]
  if (kind === 'full') return [NEAR, SERIAL]
  if (kind === 'docs') return isAwaited ? [NEAR, FEW, SERIAL] : [SERIAL]
  return []
}
