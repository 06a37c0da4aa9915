/** Idempotent requests: `tp.idempotency()`. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  identifier,
  optionError,
  integer,
  oneOf,
  type Validator,
} from '../../validate.ts'
import { durationOption, durationValidator } from '../../duration.ts'
import type { Feature } from '../../http/exchange.ts'
import type { ExtensionContext } from '../../extension.ts'
import { IdempotencyEngine } from './engine.ts'
import { idempotencyFeature } from './feature.ts'
import { NEVER } from './fields.ts'
import type { IdempotencyOptions } from './options.ts'

const NAME = /^[!#$%&'*+.^_`|~\w-]+$/
const isName = (value: unknown): boolean => typeof value === 'string' && NAME.test(value)
const names = (expected: string): Validator => ({
  expected,
  accepts: (value) => Array.isArray(value) && value.every(isName),
})

const KINDS: Record<string, Validator> = {
  ttl: durationValidator,
  lease: durationValidator,
  maxLease: durationValidator,
  wait: durationValidator,
  required: boolean,
  methods: names("a list of methods, like ['POST', 'PATCH']"),
  header: { expected: "a header's name", accepts: isName },
  scope: callback,
  fingerprint: anyOf(oneOf('body', 'json'), callback),
  store: callback,
  headers: names("a list of header fields' names"),
  maxBodyBytes: integer(0),
  maxRequestBytes: integer(0),
  onCrash: oneOf('rerun', 'conflict'),
  fail: oneOf('closed', 'open'),
  docsUrl: {
    expected: 'a URL',
    accepts: (value) => typeof value === 'string' && URL.canParse(value) && !/[<>\s]/.test(value),
  },
  skip: callback,
  name: identifier,
}

/** A lease that a slow reply outlasts is none. */
const SHORTEST = 50

/** Idempotency of an instance. */
export interface IdempotencyApi<Native, Middleware> {
  /**
   * A repeated request has one effect and one answer, by the client's Idempotency-Key
   * (draft-ietf-httpapi-idempotency-key-header-07). The handler finds `req.idempotency` (Koa: `ctx.state.idempotency`).
   * @throws TP_OPTION for an option that cannot be used
   */
  idempotency(options?: IdempotencyOptions<Native>): Middleware
}

/** Creates the idempotency of an instance. */
export function createIdempotency<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
): { api: IdempotencyApi<Native, Middleware> } {
  return {
    api: { idempotency: (options) => context.mount(createIdempotencyFeature(context, options)) },
  }
}

function createIdempotencyFeature<Native>(
  context: ExtensionContext<Native>,
  options: IdempotencyOptions<Native> = {},
): Feature<Native> {
  const where = 'tp.idempotency()'
  validateOptions(where, options, KINDS)
  const { name = 'default', onCrash = 'rerun', headers = [] } = options
  const never = headers.find((field) => NEVER.includes(field.toLowerCase()))
  if (never)
    throw optionError(
      where,
      'headers',
      never,
      `fields of the answer itself; ${never} belongs to one connection or one visit`,
    )
  const lease = durationOption(options.lease ?? '30s', where, 'lease', SHORTEST)
  const engine = new IdempotencyEngine(context, {
    name,
    onCrash,
    lease,
    ttl: Math.max(lease, durationOption(options.ttl ?? '24h', where, 'ttl', SHORTEST)),
    maxLease: durationOption(options.maxLease ?? lease * 10, where, 'maxLease', SHORTEST),
  })
  const wait = durationOption(options.wait ?? 0, where, 'wait', 0)
  return idempotencyFeature(engine, { ...options, wait })
}
