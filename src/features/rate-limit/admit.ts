/** The usual case of `take`, written out: nobody is blocked or has limits of their own, and all policies admit. */
import fixed from './admit-fixed.lua'
import gcra from './admit-gcra.lua'
import sliding from './admit-sliding.lua'

/** One policy as `take` is asked about it; aux is undefined for windows aligned to the epoch. */
export interface Constant {
  algorithm: 's' | 'f' | 'g'
  name: string
  limit: number
  window: number
  aux: number | undefined
  cost: number
  block: number
  blockMax: number
  /** Which hash of own limits counts, from 1; 0: none. */
  own: number
}

/** Where a template is cut: before it nothing is written, and `break` leaves everything to the rest of the script. */
const CUT = '-- CHARGE\n'
const TEMPLATES = { s: sliding, f: fixed, g: gcra }
/** So many policies' variables fit beside each other: Lua has 200 for a function. */
const MOST = 8

/**
 * Lua that stands in front of the rest of `take` and answers in its place where it can.
 * It looks at all policies, then charges them. In a template, names in capitals are the policy's
 * constants, and names that end in `_` get its number.
 */
export function admitting(policies: readonly Constant[]): string {
  if (policies.length > MOST || !policies.every(isUsual)) return ''
  const parts = policies.map(writtenOut)
  const numbers = policies.map(({ limit }, i) => `${limit}, remaining_${i}, reset_${i}, 0, 0`)
  const own = policies.some((policy) => policy.own > 0) ? policies.length + 1 : 0
  return `repeat
${own > 0 ? `if call('PTTL', KEYS[${own}]) ~= -2 then break end\n` : ''}${parts.map(([look]) => look).join('')}${parts.map(([, charge]) => charge).join('')}do return pack('<dd${'ddddd'.repeat(policies.length)}', 1, now, ${numbers.join(', ')}) end
until true
`
}

/** Can it admit at all? */
const isUsual = ({ algorithm, limit, aux, cost, own }: Constant): boolean =>
  cost > 0 &&
  limit > 0 &&
  own <= 1 &&
  cost <= (algorithm === 'g' ? aux! : limit) &&
  (algorithm !== 'f' || aux === undefined)

function writtenOut(policy: Constant, i: number): string[] {
  const { algorithm, limit, window, aux = 0, cost } = policy
  const constants: Record<string, number> = {
    I: i + 1,
    LIMIT: limit,
    WINDOW: window,
    TWICE: 2 * window,
    COST: cost,
    AUX: aux,
    CELL: limit > aux ? Math.floor(window / aux) + 1 : 1,
    LIFE: window + Math.floor(window / 8),
    RISE: cost * window,
    CAPACITY: aux * window,
    LONGEST: 10_000_000_000_000,
  }
  return TEMPLATES[algorithm]
    .replace(/\b[A-Z]+\b/g, (name) => constants[name]?.toFixed(0) ?? name)
    .replace(/\b[a-z]+_(?!\w)/g, (name) => `${name}${i}`)
    .split(CUT)
}
