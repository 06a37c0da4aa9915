/** The goals, each with its measured value. */
import { fixed, table } from './table.mjs'

const STACK = '70-stack-express5'
const BUY = '71-stack-post-express5'

/** Each feature alone, and its peer. */
const SESSION = ['session-20-turnpike', 'session-30-connect-redis']
const ONCE = ['idempotency-20-turnpike', 'idempotency-30-express-idempotency']
const PAIRS = [
  ['session', 0.5, ...SESSION],
  ['1 window', 1, '20-turnpike', '30-express-rate-limit'],
  ['3 windows', 1, '21-turnpike-3', '31-express-rate-limit-3'],
  ['cache hit', 1, 'cache-20-turnpike', 'cache-30-apicache'],
  ['idempotency', 1, ...ONCE],
]

export function targets(measured) {
  const rows = [
    ...trips(measured),
    ...throughput(measured),
    ...cpu(measured),
    ...waiting(measured),
    ...near(measured),
    ...redis(measured),
    ...weight(measured),
  ].map(({ goal, bound, value, digits = 2, isMost = false, note = '' }) => {
    const isKnown = Number.isFinite(value)
    const isReached = isMost ? value <= bound : value >= bound
    return [
      goal,
      `${isMost ? '≤' : '≥'} ${bound.toLocaleString('en')}`,
      isKnown ? fixed(value, digits) : 'not measured',
      isKnown ? (isReached ? 'yes' : 'no') : '',
      note,
    ].map(String)
  })
  return [table(['goal', 'wanted', 'measured', 'reached', ''], rows)]
}

const short = (node) => `Node ${node.slice(1).split('.')[0]}`

/** Sequential round trips, by latency: what a request waits for. */
function trips(measured) {
  const [node] = measured.nodes
  const slope = (id) => measured.of(node, 'serial', id)?.slope
  const goal = (goal, bound, value, note) => ({ goal, bound, value, isMost: true, note })
  return [
    goal(
      'round trips: pipeline of session, 3 windows, cache hit',
      1.2,
      slope(`${STACK}/pipeline-3`),
    ),
    goal('the same, mounted separately: one each', 3.6, slope(`${STACK}/separate-3`)),
    goal('POST with a new key, in a pipeline, completion awaited', 2.2, slope(`${BUY}/pipeline-1`)),
    goal(
      'hit in the near cache, no session and no limit',
      0,
      measured.of(node, 'serial', 'cache-21-turnpike-near')?.commands,
      'commands',
    ),
  ]
}

function throughput(measured) {
  const ratio = (major, kind, id, peer) => {
    const node = measured.node(major)
    return measured.of(node, kind, id)?.rate / measured.of(node, kind, peer)?.rate
  }
  /** @param alone what does without, and how much that reaches: more is not to be had */
  const goal = (goal, bound, [major, kind, id, peer], [name, alone]) => ({
    goal,
    bound,
    value: ratio(major, kind, id, peer),
    note: `${name}: ${fixed(ratio(major, kind, alone, peer), 2)}`,
  })
  const stack = (windows) => [`${STACK}/pipeline-${windows}`, `${STACK}/peers-${windows}`]
  const express = ['Express alone', `${STACK}/bare`]
  return [
    goal(
      'requests/s against the peers: 1 ms, 1 window, Node 24',
      4,
      [24, '1 ms', ...stack(1)],
      express,
    ),
    goal('1 ms, 3 windows, Node 24', 6, [24, '1 ms', ...stack(3)], express),
    goal('0 ms, 1 window, Node 24', 3, [24, '0 ms', ...stack(1)], express),
    goal('0 ms, 3 windows, Node 24', 3, [24, '0 ms', ...stack(3)], express),
    goal('0 ms, 1 window, Node 20', 2.5, [20, '0 ms', ...stack(1)], express),
    goal('0 ms, 3 windows, Node 20', 2.5, [20, '0 ms', ...stack(3)], express),
    goal(
      'POST with a new key, completion awaited, 1 ms, Node 24',
      2.5,
      [24, '1 ms', `${BUY}/pipeline-1`, `${BUY}/peers-1`],
      ['Express alone', `${BUY}/bare`],
    ),
    ...['1 ms', '1 ms, c=8'].flatMap((kind) => [
      goal(
        `session alone by its peer: ${kind}, Node 24`,
        2,
        [24, kind, ...SESSION],
        ['Express alone', 'session-10-bare'],
      ),
      goal(
        `idempotency alone by its peer: ${kind}, Node 24`,
        1.5,
        [24, kind, ...ONCE],
        ['two PINGs', 'idempotency-11-pings'],
      ),
    ]),
  ]
}

function cpu(measured) {
  const goals = []
  for (const node of measured.nodes) {
    const of = (id) => measured.of(node, '0 ms', id)?.least
    const stack = of(`${STACK}/pipeline-3`)
    const goal = (goal, bound, value) =>
      goals.push({ goal: `${goal}, ${short(node)}`, bound, value, isMost: true })
    goal('CPU of the full stack (3 windows) by that of one PING', 1.3, stack / of(`${STACK}/ping`))
    goal('by that of the peers', 0.4, stack / of(`${STACK}/peers-3`))
    for (const [name, bound, ours, theirs] of PAIRS) {
      const wanted = node === measured.node(24) ? bound : 1
      goal(`CPU of ${name} alone by that of its peer`, wanted, of(ours) / of(theirs))
    }
    const flexible = of('20-turnpike') / of('40-flexible')
    goal('CPU of 1 window alone by that of rate-limiter-flexible', 1, flexible)
  }
  return goals
}

function waiting(measured) {
  const [node] = measured.nodes
  const p50 = (name) => measured.of(node, '5 ms', `${STACK}/${name}`)?.p50
  return [
    {
      goal: 'p50 with 8 connections and 5 ms, full stack by one PING',
      bound: 1.1,
      value: p50('pipeline-3') / p50('ping'),
      isMost: true,
    },
  ]
}

function near(measured) {
  const of = (major, id) => {
    const node = measured.node(major)
    const rate = (which) => measured.of(node, '0 ms', which)?.rate
    return rate(id) / rate('cache-10-bare')
  }
  const beforeFramework = (major) => of(major, 'cache-22-turnpike-listener')
  return [
    {
      goal: 'hit in the near cache by bare res.json, Node 24',
      bound: 1.4,
      value: of(24, 'cache-21-turnpike-near'),
    },
    {
      goal: 'hit before the framework by bare res.json, Node 24',
      bound: 2,
      value: beforeFramework(24),
    },
    {
      goal: 'hit before the framework by bare res.json, Node 20',
      bound: 6,
      value: beforeFramework(20),
    },
  ]
}

function redis(measured) {
  const side = measured.all['server side']
  if (!side) return []
  const cost = (name) => side.costs.find((each) => each.name.includes(name)).cpu
  const heaviest = Math.max(
    ...side.weights.filter(({ name }) => name.startsWith('turnpike')).flatMap(({ bytes }) => bytes),
  )
  const tags = measured.all['scaling: tags']
  return [
    {
      goal: 'CPU of Redis for one decision over three windows by three calls of rate-limiter-flexible',
      bound: 1,
      value: cost('sliding-window') / cost('flexible'),
      isMost: true,
    },
    {
      goal: 'bytes of a limiter key at any limit',
      bound: 1024,
      value: heaviest,
      digits: 0,
      isMost: true,
    },
    {
      goal: 'invalidating a tag of 1,000,000 entries by one of 1',
      bound: 1.5,
      value: tags?.at(-1).us / tags?.[0].us,
      isMost: true,
    },
  ]
}

function weight(measured) {
  const starts = measured.all['start-up'] ?? []
  const soak = measured.all['scaling: soak']
  return [
    ...starts.map(({ node, median }) => ({
      goal: `require('turnpike/express'), ms, ${short(node)}`,
      bound: 40,
      value: median['turnpike/express'],
      digits: 1,
      isMost: true,
    })),
    {
      goal: 'heap after a million requests by that after the first 100,000',
      bound: 1.1,
      value: soak?.at(-1).heap / soak?.[1].heap,
      isMost: true,
    },
  ]
}
