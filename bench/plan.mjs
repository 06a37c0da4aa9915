/** What is measured, by how much effort. */
import { choose } from './variants.mjs'

/** `warm`: requests before anything is measured; with much fewer, V8 is still at work. */
export const EFFORTS = {
  quick: { warm: 5000, rounds: 3, ms: 300, serial: { near: 50, far: 15 } },
  full: { warm: 20_000, rounds: 7, ms: 2000, serial: { near: 500, far: 100 } },
}

const CROWD = 64
const AT_ONCE = { name: '0 ms', delay: 0, connections: CROWD }
const NEAR = { name: '1 ms', delay: 1, connections: CROWD }
/** A median that is all waiting needs few rounds. */
const FAR = { name: '5 ms', delay: 5, connections: 8, rounds: 2 }
const SERIAL = { name: 'serial' }

/** Groups that a short run leaves to the long one. */
const ASIDE = ['Express 4, GET', 'Koa 3', 'Koa 3, GET']

/** Each starts the applications of a group once, directly at Redis or through the proxy. */
export function sectionsOf(variants, { kind, only }) {
  const chosen = choose(variants, only?.split(',') ?? [''])
  const groups = new Set(chosen.map(({ group }) => group))
  const sections = []
  for (const group of groups) {
    const members = chosen.filter((variant) => variant.group === group)
    const isStack = members.some(({ id }) => id.includes('stack'))
    if (!only && kind === 'quick' && ASIDE.includes(group)) continue
    const section = (name, distant, kinds) => {
      if (kinds.length > 0) {
        sections.push({ name: `${group}, ${name}`, variants: members, distant, kinds })
      }
    }
    section('at Redis', false, [AT_ONCE])
    if (isStack) section('at a distance', true, [NEAR, FAR, SERIAL])
    else if (kind === 'full') section('at a distance', true, [NEAR, SERIAL])
  }
  return sections
}
