/** The options of one `tp.cache()`, checked and worked out. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  isObject,
  optionError,
  integer,
  oneOf,
  type Validator,
} from '../../validate.ts'
import { durationOption, durationValidator, parseDuration } from '../../duration.ts'
import type { CacheEngine } from './engine.ts'
import type { CacheOptions } from './options.ts'
import type { Rules } from './policy.ts'
import { Targets } from './targets.ts'

/** One mount of the cache. Times in ms. */
export interface Mount<Native> {
  readonly engine: CacheEngine
  readonly options: CacheOptions<Native>
  readonly name: string
  readonly rules: Omit<Rules, 'authorized'>
  /** By names in lower case and order. */
  readonly vary: readonly string[]
  readonly wait: number
  readonly lease: number
  readonly maxBodyBytes: number
  readonly background: boolean
  /** Bytes of the cache in this process; 0: none. */
  readonly near: number
  readonly targets: Targets
  /** May its answers be given before the application sees the request? */
  readonly beforeFramework: boolean
}

const names: Validator = {
  expected: 'a list of texts',
  accepts: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== ''),
}

const KINDS: Record<string, Validator> = {
  ttl: anyOf(durationValidator, oneOf('auto')),
  negativeTtl: durationValidator,
  tags: anyOf(names, callback),
  scope: callback,
  public: boolean,
  key: callback,
  query: { expected: '{ allow, ignore, sort }', accepts: isObject },
  vary: names,
  skip: callback,
  staleWhileRevalidate: durationValidator,
  staleIfError: durationValidator,
  refresh: oneOf('background', 'foreground'),
  jitter: {
    expected: 'a number from 0 to 1',
    accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1,
  },
  wait: durationValidator,
  lease: durationValidator,
  maxBodyBytes: integer(0),
  compress: boolean,
  near: anyOf(boolean, {
    expected: '{ maxBytes }',
    accepts: (value) => isObject(value) && integer(1).accepts(value['maxBytes']),
  }),
  beforeFramework: boolean,
  targeted: names,
  name: identifier,
}

const NEAR_BYTES = 32 * 1024 * 1024
const WHERE = 'tp.cache()'

/** @throws TP_OPTION for an option that cannot be used */
export function mountOf<Native>(
  open: () => CacheEngine,
  options: CacheOptions<Native>,
): Mount<Native> {
  validateOptions(WHERE, options, KINDS)
  if (options.ttl === undefined)
    throw optionError(
      WHERE,
      'ttl',
      undefined,
      "a duration like '5m', or 'auto' to go by the response's Cache-Control",
    )
  validateOptions(`${WHERE}: query`, options.query ?? {}, {
    allow: names,
    ignore: names,
    sort: boolean,
  })
  const {
    ttl,
    near = false,
    jitter = 0.1,
    wait = '2s',
    lease = '10s',
    vary = [],
    targeted = ['CDN-Cache-Control'],
  } = options
  const { refresh = isFunction(options.scope) ? 'foreground' : 'background' } = options
  if (refresh === 'background' && options.scope) {
    throw optionError(
      WHERE,
      'refresh',
      refresh,
      "'foreground' with scope: a request that nobody waits for is nobody's",
    )
  }
  const optional = (
    option: 'negativeTtl' | 'staleWhileRevalidate' | 'staleIfError',
  ): number | undefined =>
    options[option] === undefined ? undefined : parseDuration(options[option])
  const engine = open()
  const { key, scope, skip, beforeFramework = false } = options
  if (
    beforeFramework &&
    (!near || !options.public || key || scope || skip || engine.context.hasTenants)
  ) {
    throw optionError(
      WHERE,
      'beforeFramework',
      beforeFramework,
      'near: true and public: true beside it, and neither key, scope, skip nor tenants: nobody is there to ask them',
    )
  }
  return {
    engine,
    options,
    name: options.name ?? 'cache',
    rules: {
      ttl: ttl === 'auto' ? ttl : durationOption(ttl, WHERE, 'ttl'),
      negativeTtl: optional('negativeTtl'),
      staleWhileRevalidate: optional('staleWhileRevalidate'),
      staleIfError: optional('staleIfError'),
      jitter,
      targeted: targeted.map((name) => name.toLowerCase()),
    },
    vary: [...new Set(vary.map((name) => name.toLowerCase()))].sort(),
    wait: durationOption(wait, WHERE, 'wait', 0),
    lease: durationOption(lease, WHERE, 'lease'),
    maxBodyBytes: options.maxBodyBytes ?? 1_048_576,
    background: refresh === 'background',
    near: typeof near === 'object' ? near.maxBytes : near ? NEAR_BYTES : 0,
    beforeFramework,
    targets: new Targets(engine.place, options.query, engine.shelf.store.kind === 'memory'),
  }
}
