/**
 * What a request pays for the rules of `tp.control`, in ns: `npm run build && node bench/rules.mjs`.
 * Without rules features ask for their number alone. With rules they look the address up.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { fixed, median, print } from './table.mjs'

const LOOKUPS = 2_000_000
const ROUNDS = 7
const RULES = 10_000

/** Returns a class of the built package by its name. The names of exports are shortened. */
async function builtClass(name) {
  const folder = path.join(import.meta.dirname, '../dist/shared')
  for (const file of readdirSync(folder).filter((each) => each.endsWith('.mjs'))) {
    if (!file.startsWith('rule-table') && !file.startsWith('create-turnpike')) continue
    const exported = await import(pathToFileURL(path.join(folder, file)))
    for (const value of Object.values(exported))
      if (typeof value === 'function' && value.name === name) return value
  }
  throw new Error(`dist has no class ${name}. Run npm run build.`)
}

const RuleTable = await builtClass('RuleTable')
const until = Infinity

/** Returns a table of networks of several lengths, as a person and a ban would make them. */
function tableOf(count, lengths) {
  const table = new RuleTable(() => Date.now())
  for (let i = 0; i < count; i++) {
    const length = lengths[i % lengths.length]
    const all = (11 * 2 ** 24 + i * 2_654_435) % 2 ** 32
    const bits = length === 32 ? all : (all & (-1 << (32 - length))) >>> 0
    const prefix = { family: 4, length, bits, text: '' }
    table.set({ kind: 'address', prefix }, { effect: 'deny', until })
  }
  return table
}

const addresses = Array.from(
  { length: 1024 },
  (_, i) => `203.${i & 255}.${(i * 7) & 255}.${i % 251}`,
)

/** The addresses of clients that come once. */
const strangers = Array.from(
  { length: 65_536 },
  (_, i) => `198.${i >> 8}.${(i * 7) & 255}.${i & 255}`,
)
/** As a server that listens on IPv6 sees its clients of IPv4. */
const wrapped = addresses.map((address) => `::ffff:${address}`)
const ipv6 = addresses.map(
  (_, i) => `2001:db8:${(i * 7 + 1).toString(16)}:${i.toString(16)}::${i % 251}`,
)

/** Returns the ns of one call, the median of several rounds. */
function nsOf(call, from = addresses) {
  const last = from.length - 1
  const rounds = []
  for (let round = 0; round < ROUNDS; round++) {
    let found = 0
    const began = process.hrtime.bigint()
    for (let i = 0; i < LOOKUPS; i++) if (call(from[i & last])) found++
    rounds.push(Number(process.hrtime.bigint() - began) / LOOKUPS)
    if (found > LOOKUPS) throw new Error('unreachable')
  }
  return median(rounds.slice(2))
}

const none = { table: new RuleTable(() => Date.now()) }
const one = tableOf(1, [32])
const single = tableOf(RULES, [32])
const mixed = tableOf(RULES, [32, 24, 20, 16])
const rows = [
  ['an empty loop', nsOf((address) => address === '')],
  ['no rules', nsOf(() => none.table.size !== 0)],
  ['1 rule', nsOf((address) => one.effectOn(address) === 'deny')],
  ['10,000 addresses', nsOf((address) => single.effectOn(address) === 'deny')],
  ['10,000 networks of 4 lengths', nsOf((address) => mixed.effectOn(address) === 'deny')],
  ['the same, as IPv6 wraps them', nsOf((address) => mixed.effectOn(address) === 'deny', wrapped)],
  ['the same, IPv6', nsOf((address) => mixed.effectOn(address) === 'deny', ipv6)],
  ['the same, 65,536 addresses', nsOf((address) => mixed.effectOn(address) === 'deny', strangers)],
]
console.log(`Node ${process.versions.node}`)
print(
  'Lookups of rules',
  ['lookup', 'ns'],
  rows.map(([name, ns]) => [name, fixed(ns, 1)]),
)
