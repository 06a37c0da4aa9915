/** What is measured, by how much effort. */
import { choose } from './variants.mjs'

/** `warm`: requests before anything is measured; with much fewer, V8 is still at work. */
export const EFFORTS = {
  quick: { warm: 5000, rounds: 3, ms: 300, serial: { near: 50, far: 15 } },
  docs: { warm: 20_000, rounds: 5, ms: 400, serial: { near: 100, far: 25 } },
  full: { warm: 20_000, rounds: 7, ms: 2000, serial: { near: 500, far: 100 } },
}

const CROWD = 64
const AT_ONCE = { name: '0 ms', delay: 0, connections: CROWD }
const NEAR = { name: '1 ms', delay: 1, connections: CROWD }
/** So few that the application mostly waits. */
const FEW = { name: '1 ms, c=8', delay: 1, connections: 8 }
/** A median that is all waiting needs few rounds. */
const FAR = { name: '5 ms', delay: 5, connections: 8, rounds: 2 }
const SERIAL = { name: 'serial' }

/** Groups that a short run leaves to the long one. */
const ASIDE = ['Express 4, GET', 'Koa 3', 'Koa 3, GET']

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
    // The other frameworks are for comparison: bare, lower bound, and three windows.
    const few = ({ id }) => /\/(bare|ping|.*-3)$/.test(id)
    const section = (where, distant, kinds) => ({
      name: `${group}, ${where}`,
      group,
      variants: isAside && kind === 'docs' ? members.filter(few) : members,
      distant,
      kinds,
    })
    sections.push(section('at Redis', false, [AT_ONCE]))
    const isAwaited = members.some(({ id }) => /^(session|idempotency)-/.test(id))
    const far = distances(kind, { isStack, isAwaited, isFirst })
    if (far.length > 0) sections.push(section('at a distance', true, far))
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
