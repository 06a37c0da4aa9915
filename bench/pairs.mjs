/** Which variants are compared with which. */

/** The most CPU by that of the first peer, and on Node 24 where that is another. */
export const PAIRS = [
  {
    feature: 'session',
    bound24: 0.5,
    ours: 'session-20-turnpike',
    peers: ['session-30-connect-redis'],
  },
  { feature: '1 window', ours: '20-turnpike', peers: ['30-express-rate-limit', '40-flexible'] },
  {
    feature: '3 windows',
    ours: '21-turnpike-3',
    peers: ['31-express-rate-limit-3', '41-flexible-3'],
  },
  { feature: 'cache hit', ours: 'cache-20-turnpike', peers: ['cache-30-apicache'] },
  {
    feature: 'idempotency',
    ours: 'idempotency-20-turnpike',
    peers: ['idempotency-30-express-idempotency'],
  },
  { feature: 'lock', ours: 'lock-20-turnpike', peers: ['lock-30-redlock'] },
  // What needs no trip, beside the same peers.
  {
    feature: 'session, near',
    ours: 'session-22-turnpike-near',
    peers: ['session-30-connect-redis'],
  },
  {
    feature: '1 window, leased',
    ours: '24-turnpike-lease',
    peers: ['30-express-rate-limit', '40-flexible'],
  },
  {
    feature: '3 windows, leased',
    ours: '25-turnpike-lease-3',
    peers: ['31-express-rate-limit-3', '41-flexible-3'],
  },
  { feature: 'cache hit, near', ours: 'cache-21-turnpike-near', peers: ['cache-30-apicache'] },
]

const isOfPair = (id) => PAIRS.some(({ ours, peers }) => ours === id || peers.includes(id))

/** Returns true for what a group is compared with: nothing at all, and a PING. */
export const isReference = (id) => /[-/](bare|pings?)$/.test(id)

/** Returns true for what the tables of all versions of Node need. */
export const isInEveryTable = (id) =>
  isReference(id) ||
  isOfPair(id) ||
  /stack-express5\/(pipeline|near|peers)-/.test(id) ||
  id === 'cache-22-turnpike-listener'

/** Returns the name of a peer's package. */
export const packageOf = (id) =>
  id.replace(/^([a-z]+-)?\d+-(.+?)(-3)?$/, '$2').replace('flexible', 'rate-limiter-flexible')

/** Returns the IDs of what a feature is compared with beside its peers. Some groups have two PINGs. */
export function referencesOf(id) {
  const [prefix] = /^([a-z]+-)?/.exec(id)
  return {
    bare: `${prefix}10-bare`,
    PING: `${prefix}11-ping`,
    'two PINGs': `${prefix}11-pings`,
  }
}

/** Returns the IDs of the peers of a variant. */
export function peersOf(id) {
  const [stack, name] = id.split('/')
  if (name) return [`${stack}/${name.replace(/^(pipeline|separate|near)-/, 'peers-')}`]
  return PAIRS.filter(({ ours }) => ours === id).flatMap(({ peers }) => peers)
}
