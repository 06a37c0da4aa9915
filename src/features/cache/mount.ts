/** The options of one `tp.cache()`, validated. */
import {
  boolean,
  callback,
  validateOptions,
  anyOf,
  identifier,
  isFunction,
  isObject,
  optionError,
  OptionError,
  integer,
  oneOf,
  type Validator,
  isListOf,
  nonEmptyString,
} from '../../validate.ts'
import { isTag, tagFields } from '../../caching/tags.ts'
import { durationOption, durationValidator, parseDuration } from '../../duration.ts'
import { IgnoredCookies } from './cookies.ts'
import type { CacheEngine } from './engine.ts'
import type { CacheOptions } from './options.ts'
import type { StoragePolicy } from './policy.ts'
import { Targets } from './resource.ts'

/** One mount of the cache. Times in ms. */
export interface CacheMount<Native> {
  readonly engine: CacheEngine
  readonly options: CacheOptions<Native>
  readonly name: string
  readonly policy: StoragePolicy
  readonly isPublic: boolean
  /** Names in lower case, sorted. */
  readonly vary: readonly string[]
  readonly varySet: ReadonlySet<string>
  readonly ignoredCookies: IgnoredCookies
  readonly waitMs: number
  readonly leaseMs: number
  readonly maxBodyBytes: number
  /** True if a stale response is revalidated in the background. */
  readonly refreshesInBackground: boolean
  /** Size of the near cache; 0: none. */
  readonly nearBytes: number
  readonly targets: Targets
  /** True if `tp.cacheListener()` may answer before the framework gets the request. */
  readonly beforeFramework: boolean
}

const names: Validator = {
  expected: 'a list of non-empty strings',
  accepts: (value) => isListOf(value, nonEmptyString.accepts, 0),
}

/** A list of tags. */
export const tagList: Validator = {
  expected: 'a list of tags (non-empty strings or finite numbers)',
  accepts: (value) => isListOf(value, isTag, 0),
}

const OPTIONS: Record<string, Validator> = {
  ttl: anyOf(durationValidator, oneOf('auto')),
  negativeTtl: durationValidator,
  tags: anyOf(tagList, callback),
  scope: callback,
  public: boolean,
  key: callback,
  query: { expected: '{ allow, ignore, sort }', accepts: isObject },
  cookies: { expected: '{ ignore }', accepts: isObject },
  vary: names,
  skip: callback,
  staleWhileRevalidate: durationValidator,
  staleIfError: durationValidator,
  keep: durationValidator,
  heuristic: boolean,
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

const DEFAULT_NEAR_BYTES = 32 * 1024 * 1024
const WHERE = 'tp.cache()'

/** Validates the options of a mount. @throws TP_OPTION */
export function createMount<Native>(
  open: () => CacheEngine,
  options: CacheOptions<Native>,
): CacheMount<Native> {
  validateOptions(WHERE, options, OPTIONS)
  if (options.ttl === undefined) {
    const expected = "a duration like '5m', or 'auto' to use the response's Cache-Control"
    throw optionError(WHERE, 'ttl', undefined, expected)
  }
  validateOptions(`${WHERE}: query`, options.query ?? {}, {
    allow: names,
    ignore: names,
    sort: boolean,
  })
  validateOptions(`${WHERE}: cookies`, options.cookies ?? {}, { ignore: names })
  const engine = open()
  checkCombinations(options, engine.context.hasTenants)
  const { near = false, wait = '2s', lease = '10s', public: isPublic = false } = options
  const vary = [...new Set((options.vary ?? []).map((name) => name.toLowerCase()))].sort()
  const { refresh = isFunction(options.scope) ? 'foreground' : 'background' } = options
  engine.addQueryRules(options.query)
  describe(engine, options)
  return {
    engine,
    options,
    name: options.name ?? 'cache',
    policy: policyOf(options),
    isPublic,
    vary,
    varySet: new Set(vary),
    ignoredCookies: new IgnoredCookies(options.cookies?.ignore ?? []),
    waitMs: durationOption(wait, WHERE, 'wait', 0),
    leaseMs: durationOption(lease, WHERE, 'lease'),
    maxBodyBytes: options.maxBodyBytes ?? 1_048_576,
    refreshesInBackground: refresh === 'background',
    nearBytes: typeof near === 'object' ? near.maxBytes : near ? DEFAULT_NEAR_BYTES : 0,
    beforeFramework: options.beforeFramework ?? false,
    targets: new Targets({
      keysOf: engine.keysOf,
      query: options.query,
      tags: Array.isArray(options.tags) ? tagFields(options.tags, WHERE) : [],
      ignoresPort: engine.cacheStore.store.kind === 'memory',
    }),
  }
}

/** Notes the mount for the people who operate the application. */
function describe(engine: CacheEngine, options: CacheOptions<never>): void {
  const { ttl, near = false, scope, public: isPublic = false, beforeFramework = false } = options
  engine.context.events.counts.describe('cache', options.name ?? 'cache', {
    fail: 'open',
    ttl,
    isPublic,
    isScoped: scope !== undefined,
    isNear: near !== false,
    beforeFramework,
    staleWhileRevalidate: options.staleWhileRevalidate,
    staleIfError: options.staleIfError,
  })
}

function policyOf(options: CacheOptions<never>): CacheMount<never>['policy'] {
  const { ttl, negativeTtl, staleWhileRevalidate, staleIfError, jitter = 0.1 } = options
  const { targeted = ['CDN-Cache-Control'] } = options
  const msOf = (duration: unknown): number | undefined =>
    duration === undefined ? undefined : parseDuration(duration)
  return {
    ttl: ttl === 'auto' ? ttl : durationOption(ttl, WHERE, 'ttl'),
    negativeTtl: msOf(negativeTtl),
    staleWhileRevalidate: msOf(staleWhileRevalidate),
    staleIfError: msOf(staleIfError),
    keep: durationOption(options.keep ?? (ttl === 'auto' ? '1h' : 0), WHERE, 'keep', 0),
    isHeuristic: options.heuristic ?? false,
    jitter,
    isPublic: options.public ?? false,
    targeted: targeted.map((name) => name.toLowerCase()),
  }
}

function checkCombinations(options: CacheOptions<never>, hasTenants: boolean): void {
  const { refresh, scope, beforeFramework, near, key, skip, ttl, heuristic } = options
  if (heuristic && ttl !== 'auto') {
    throw combinationError(
      'heuristic',
      heuristic,
      'false',
      "heuristic: true requires ttl: 'auto'. A fixed ttl leaves nothing to assume.",
    )
  }
  if (refresh === 'background' && scope) {
    throw combinationError(
      'refresh',
      refresh,
      "'foreground'",
      "refresh: 'background' cannot be combined with scope. A background request has no sender, so it cannot fill an entry of one scope.",
    )
  }
  if (!beforeFramework) return
  if (!near || !options.public || key || scope || skip || hasTenants) {
    throw combinationError(
      'beforeFramework',
      beforeFramework,
      'false',
      'beforeFramework: true requires near: true and public: true, and cannot be combined with key, scope, skip or tenants.',
    )
  }
}

const combinationError = (
  option: string,
  value: unknown,
  expected: string,
  message: string,
): OptionError => new OptionError(`${WHERE}: ${message}`, option, value, expected, undefined)
