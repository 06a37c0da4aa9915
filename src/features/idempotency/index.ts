/** Idempotent requests: `tp.idempotency()`. */
import {
  boolean,
  callback,
  check,
  either,
  identifier,
  optionError,
  whole,
  word,
  type Kind,
} from '../../check.ts'
import { duration, durations } from '../../duration.ts'
import type { Feature } from '../../http/exchange.ts'
import type { Ground } from '../ground.ts'
import { IdempotencyEngine } from './engine.ts'
import { idempotencyFeature } from './feature.ts'
import { NEVER } from './fields.ts'
import type { IdempotencyOptions } from './options.ts'

const NAME = /^[!#$%&'*+.^_`|~\w-]+$/
const isName = (value: unknown): boolean => typeof value === 'string' && NAME.test(value)
const names = (expected: string): Kind => ({
  expected,
  accepts: (value) => Array.isArray(value) && value.every(isName),
})

const KINDS: Record<string, Kind> = {
  ttl: durations,
  lease: durations,
  longest: durations,
  wait: durations,
  required: boolean,
  methods: names("a list of methods, like ['POST', 'PATCH']"),
  header: { expected: "a header's name", accepts: isName },
  scope: callback,
  fingerprint: either(word('body', 'json'), callback),
  store: callback,
  headers: names("a list of header fields' names"),
  maxBodyBytes: whole(0),
  maxRequestBytes: whole(0),
  onCrash: word('rerun', 'conflict'),
  fail: word('closed', 'open'),
  docsUrl: {
    expected: 'a URL',
    accepts: (value) => typeof value === 'string' && URL.canParse(value) && !/[<>\s]/.test(value),
  },
  skip: callback,
  name: identifier,
}

/** A lease that a slow reply outlasts is none. */
const SHORTEST = 50

/** `tp.idempotency()`: the feature to mount. */
export function idempotency<Native>(
  ground: Ground<Native>,
  options: IdempotencyOptions<Native> = {},
): Feature<Native> {
  const where = 'tp.idempotency()'
  check(where, options, KINDS)
  const { name = 'default', onCrash = 'rerun', headers = [] } = options
  const never = headers.find((field) => NEVER.includes(field.toLowerCase()))
  if (never)
    throw optionError(
      where,
      'headers',
      never,
      `fields of the answer itself; ${never} belongs to one connection or one visit`,
    )
  const lease = duration(options.lease ?? '30s', where, 'lease', SHORTEST)
  const engine = new IdempotencyEngine(ground, {
    name,
    onCrash,
    lease,
    ttl: Math.max(lease, duration(options.ttl ?? '24h', where, 'ttl', SHORTEST)),
    longest: duration(options.longest ?? lease * 10, where, 'longest', SHORTEST),
  })
  const wait = duration(options.wait ?? 0, where, 'wait', 0)
  return idempotencyFeature(engine, { ...options, wait }, ground.tenant)
}
