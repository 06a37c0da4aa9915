/** Idempotent requests: `tp.idempotency()`. */
import {
  anyOf,
  boolean,
  callback,
  identifier,
  integer,
  oneOf,
  validateOptions,
  type Validator,
  isListOf,
} from '../../validate.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { Feature } from '../../http/exchange.ts'
import { requestLeaseTimes, SHORTEST_LEASE } from '../lease-options.ts'
import { RequestHoldings } from '../request-holdings.ts'
import { IdempotencyEngine } from './engine.ts'
import { createIdempotencyFeature } from './feature.ts'
import type { IdempotencyOptions } from './options.ts'

const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/
const isToken = (value: unknown): boolean => typeof value === 'string' && TOKEN.test(value)
const tokens = (expected: string): Validator => ({
  expected,
  accepts: (value) => isListOf(value, isToken, 0),
})

const OPTIONS: Record<keyof IdempotencyOptions<never>, Validator> = {
  ttl: durationValidator,
  lease: durationValidator,
  maxLease: durationValidator,
  wait: durationValidator,
  required: boolean,
  methods: tokens("a list of methods, like ['POST', 'PATCH']"),
  key: callback,
  header: { expected: 'the name of a header field', accepts: isToken },
  scope: callback,
  fingerprint: anyOf(oneOf('body', 'json'), callback),
  store: callback,
  omitHeaders: tokens('a list of names of header fields'),
  maxBodyBytes: integer(0),
  maxRequestBytes: integer(0),
  onCrash: oneOf('rerun', 'conflict'),
  fail: oneOf('closed', 'open'),
  docsUrl: {
    expected: 'a URL',
    accepts: (value) => typeof value === 'string' && URL.canParse(value) && !/[<>\s]/.test(value),
  },
  skip: callback,
  reply: callback,
  name: identifier,
}

/** Idempotency of an instance. */
export interface IdempotencyApi<Native, Middleware> {
  /**
   * Returns a middleware that gives a repeated request one effect and one response, by the client's
   * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07). The handler finds
   * `req.idempotency` (Koa: `ctx.state.idempotency`).
   *
   * @throws TP_OPTION for an option that cannot be used
   * @example
   * app.post('/payments', tp.idempotency({ ttl: '24h' }), express.json(), pay)
   */
  idempotency(options?: IdempotencyOptions<Native>): Middleware
}

/** Creates the idempotency of an instance. */
export function createIdempotency<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: IdempotencyApi<Native, Middleware> } {
  const holdings = new RequestHoldings('keys')
  return {
    api: { idempotency: (options) => context.mount(createMount(context, holdings, options)) },
  }
}

function createMount<Native>(
  context: ExtensionContext<Native>,
  holdings: RequestHoldings,
  options: IdempotencyOptions<Native> = {},
): Feature<Native> {
  const where = 'tp.idempotency()'
  validateOptions(where, options, OPTIONS)
  const { name = 'default', onCrash = 'rerun' } = options
  const { lease, maxLease, wait } = requestLeaseTimes(where, options)
  const ttl = Math.max(lease, durationOption(options.ttl ?? '24h', where, 'ttl', SHORTEST_LEASE))
  const engine = new IdempotencyEngine(context, { name, onCrash, lease, ttl, maxLease })
  const { fail = 'closed' } = options
  const times = { ttlMs: ttl, leaseMs: lease, waitMs: wait }
  context.events.counts.describe('idempotency', name, { fail, onCrash, ...times })
  context.onClose((signal) => engine.close(signal))
  return createIdempotencyFeature(engine, { ...options, wait }, holdings)
}
