/** The goals, each with its measured value, and with what bare Express and one PING reach. */
import { packageOf, PAIRS, referencesOf } from './pairs.mjs'
import { MOST_START_UP } from './start-up.mjs'
import { fixed, print, table } from './table.mjs'

const STACK = '70-stack-express5'
const BUY = '71-stack-post-express5'
const SESSION = ['session-20-turnpike', 'session-30-connect-redis']
const ONCE = ['idempotency-20-turnpike', 'idempotency-30-express-idempotency']
const HEAD = ['goal', 'wanted', 'measured', 'reached', 'for comparison']

/** All goals as a table. */
export const targets = (measured) => [table(HEAD, rowsOf(goals(measured)))]

/** Prints the goals of which something was measured. */
export function printGoals(measured) {
  const known = goals(measured).filter(({ value }) => Number.isFinite(value))
  if (known.length > 0) print('### The goals', HEAD, rowsOf(known))
}

const goals = (measured) => [
  ...noTrip(measured),
  ...trips(measured),
  ...throughput(measured),
  ...cpu(measured),
  ...waiting(measured),
  ...near(measured),
  ...redis(measured),
  ...weight(measured),
]

const rowsOf = (all) =>
  all.map(({ goal, bound, value, digits = 2, isMost = false, note = '' }) => {
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

const short = (node) => `Node ${node.slice(1).split('.')[0]}`
const most = (goal, bound, value, note) => ({ goal, bound, value, note, isMost: true })

/** What others reach of the same figure: `bare 1.00, PING 0.86`. */
function beside(of, others) {
  const known = Object.entries(others).filter(([, id]) => Number.isFinite(of(id)))
  return known.map(([name, id]) => `${name} ${fixed(of(id), 2)}`).join(', ')
}

const REFERENCES = { bare: `${STACK}/bare`, PING: `${STACK}/ping` }

/** The pipeline of a warm process: near session, leased limits, near hit. */
function noTrip(measured) {
  const node = measured.main
  const id = `${STACK}/near-3`
  const ratio = (figure, kind, to) => (which) =>
    measured.of(node, kind, which)?.[figure] / measured.of(node, kind, `${STACK}/${to}`)?.[figure]
  const goal = (goal, bound, of, more) => ({
    goal: `${goal}, ${short(node)}`,
    bound,
    value: of(id),
    note: beside(of, REFERENCES),
    ...more,
  })
  return [
    most(
      'no trip: commands of a request, 500 visitors, 64 connections',
      0.1,
      measured.of(node, 'steady', id)?.commands,
      beside((which) => measured.of(node, 'serial', which)?.commands, REFERENCES),
    ),
    goal('no trip: requests/s by bare Express, 0 ms', 0.85, ratio('rate', '0 ms', 'bare')),
    goal('the same at 1 ms', 0.85, ratio('rate', '1 ms', 'bare')),
    goal('no trip: requests/s by the peers, 3 windows, 1 ms', 8, ratio('rate', '1 ms', 'peers-3')),
    goal('the same at 0 ms', 5, ratio('rate', '0 ms', 'peers-3')),
    goal('no trip: CPU by bare Express', 1.2, ratio('least', '0 ms', 'bare'), { isMost: true }),
  ]
}

/** Sequential round trips, by latency: what a request waits for. */
function trips(measured) {
  const node = measured.main
  const slope = (id) => measured.of(node, 'serial', id)?.slope
  const ping = beside(slope, { PING: REFERENCES.PING })
  return [
    most(
      'round trips: pipeline of session, 3 windows, cache hit',
      1.2,
      slope(`${STACK}/pipeline-3`),
      ping,
    ),
    most('the same, mounted separately: one each', 3.6, slope(`${STACK}/separate-3`), ping),
    most(
      'POST with a new key, in a pipeline, completion awaited',
      2.2,
      slope(`${BUY}/pipeline-1`),
      beside(slope, { PING: `${BUY}/ping` }),
    ),
    most(
      'hit in the near cache, no session and no limit',
      0,
      measured.of(node, 'serial', 'cache-21-turnpike-near')?.commands,
      'commands',
    ),
  ]
}

function throughput(measured) {
  /** @param references what does without, and how much that reaches: more is not to be had */
  function goal(goal, bound, [major, kind, id, peer], references = REFERENCES) {
    const node = measured.node(major)
    const of = (which) => measured.of(node, kind, which)?.rate / measured.of(node, kind, peer)?.rate
    return { goal, bound, value: of(id), note: beside(of, references) }
  }
  const stack = (windows) => [`${STACK}/pipeline-${windows}`, `${STACK}/peers-${windows}`]
  return [
    goal('requests/s by the peers: 1 ms, 1 window, Node 24', 3.5, [24, '1 ms', ...stack(1)]),
    goal('1 ms, 3 windows, Node 24', 5.5, [24, '1 ms', ...stack(3)]),
    goal('0 ms, 1 window, Node 24', 3, [24, '0 ms', ...stack(1)]),
    goal('0 ms, 3 windows, Node 24', 3, [24, '0 ms', ...stack(3)]),
    goal('0 ms, 1 window, Node 20', 2.5, [20, '0 ms', ...stack(1)]),
    goal('0 ms, 3 windows, Node 20', 2.5, [20, '0 ms', ...stack(3)]),
    goal(
      'POST with a new key, completion awaited, 1 ms, Node 24',
      2.5,
      [24, '1 ms', `${BUY}/pipeline-1`, `${BUY}/peers-1`],
      { bare: `${BUY}/bare`, PING: `${BUY}/ping` },
    ),
    ...['1 ms', '1 ms, c=8'].flatMap((kind) => [
      goal(
        `session alone by its peer: ${kind}, Node 24`,
        2,
        [24, kind, ...SESSION],
        referencesOf(SESSION[0]),
      ),
      goal(
        `idempotency alone by its peer: ${kind}, Node 24`,
        1.5,
        [24, kind, ...ONCE],
        referencesOf(ONCE[0]),
      ),
    ]),
  ]
}

function cpu(measured) {
  const goals = []
  for (const node of measured.nodes) {
    const of = (id) => measured.of(node, '0 ms', id)?.least
    const goal = (goal, bound, value, note) =>
      goals.push(most(`${goal}, ${short(node)}`, bound, value, note))
    const by = (to) => (id) => of(id) / of(`${STACK}/${to}`)
    const stack = `${STACK}/pipeline-3`
    goal(
      'CPU of the full stack (3 windows) by that of one PING',
      1.4,
      by('ping')(stack),
      beside(by('ping'), { bare: REFERENCES.bare }),
    )
    goal('by that of the peers', 0.4, by('peers-3')(stack), beside(by('peers-3'), REFERENCES))
    for (const { feature, ours, peers, bound24 = 1 } of PAIRS)
      for (const peer of peers) {
        const byPeer = (id) => of(id) / of(peer)
        goal(
          `CPU of ${feature} by that of ${packageOf(peer)}`,
          node === measured.node(24) ? bound24 : 1,
          byPeer(ours),
          beside(byPeer, referencesOf(ours)),
        )
      }
  }
  return goals
}

function waiting(measured) {
  const node = measured.main
  const p50 = (name) => measured.of(node, '5 ms', `${STACK}/${name}`)?.p50
  const late = (kind) => (which) =>
    measured.of(node, kind, which)?.p99 - measured.of(node, kind, REFERENCES.PING)?.p99
  return [
    most(
      'p50 with 8 connections and 5 ms, full stack by one PING',
      1.1,
      p50('pipeline-3') / p50('ping'),
    ),
    ...[0, 1].map((delay) => {
      const of = late(`open loop, ${delay} ms`)
      return most(
        `p99 at half of the peak rate, ms more than one PING: ${delay} ms`,
        2,
        of(`${STACK}/pipeline-3`),
        beside(of, { bare: REFERENCES.bare, 'no trip': `${STACK}/near-3` }),
      )
    }),
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
      bound: MOST_START_UP,
      value: median['turnpike/express'],
      digits: 1,
      isMost: true,
      note: `express ${fixed(median.express, 1)}, ioredis ${fixed(median.ioredis, 1)}`,
    })),
    {
      goal: 'heap after a million requests by that after the first 100,000',
      bound: 1.1,
      value: soak?.at(-1).heap / soak?.[1].heap,
      isMost: true,
    },
  ]
}
