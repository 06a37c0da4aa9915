/** Progress of tasks: `progress()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import { TurnpikeError } from '../../../errors.ts'
import { requireTenant } from '../../../store/subject.ts'
import {
  anyString,
  callback,
  integer,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import type { Topics } from '../channels/topics.ts'
import { pathOption } from '../router.ts'
import { FollowedJobs } from './followed-jobs.ts'
import { readProgress, updateProgress } from './operations.ts'
import type {
  Progress,
  ProgressChangeOptions,
  ProgressOfOptions,
  ProgressOptions,
  ProgressState,
  ProgressTracker,
} from './options.ts'
import { mountProgressRouter, type FindProgress, type ProgressKeys } from './router.ts'
import { parseState } from './state.ts'

const WHERE = 'progress()'
const OF: Record<string, Validator> = { total: integer(1, 1_000_000_000), tenant: anyString }
const COST: Validator = {
  expected: 'a number from 0 to 1000000',
  accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1_000_000,
}
const MAX_ID_LENGTH = 200
const [MAX_STEP_LENGTH, MAX_REASON_LENGTH] = [200, 1000]
/** Longest time to live: thirty days, in ms. */
const MAX_TTL = 30 * 86_400_000

/** @throws TP_OPTION for an option that cannot be used */
export function createProgress<Native, Middleware>(
  topics: Topics<Native, Middleware>,
  options: ProgressOptions,
): ProgressTracker<Native, Middleware> {
  validateOptions(WHERE, options, { ttl: durationValidator })
  const given = options.ttl ?? '24h'
  const ttl = durationOption(given, WHERE, 'ttl', 1000)
  if (ttl > MAX_TTL) throw optionError(WHERE, 'ttl', given, 'at most 30 days')
  if (topics.settings.max === 0)
    throw optionRuleError(
      WHERE,
      'history',
      false,
      'progress() needs channels with a history. Leave out `history: false`.',
    )
  const { context } = topics
  const keysOf = (id: string, tenant: string | undefined, where: string): ProgressKeys => {
    const topic = `progress:${id}`
    const tag = context.keys.tag(topic, requireTenant(context, tenant, where))
    return {
      feed: topics.feedSettings(topic, tenant, where),
      key: context.keys.key('progress', tag),
    }
  }
  const of = (id: string, call: ProgressOfOptions = {}): Progress => {
    const where = `${WHERE}.of()`
    validateOptions(where, call, OF)
    if (!isId(id))
      throw new TurnpikeError(
        'TP_KEY',
        `${where}: the ID must be a string of 1 to ${MAX_ID_LENGTH} characters.`,
      )
    return new StoredProgress(topics, keysOf(id, call.tenant, where), call.total ?? 0, ttl)
  }
  const jobs = new FollowedJobs(context, ({ id, tenant }, total) =>
    of(id, { ...(tenant !== undefined && { tenant }), ...(total !== undefined && { total }) }),
  )
  return {
    of,
    follow(handler, call = {}) {
      validateOptions(`${WHERE}.follow()`, call, { total: OF['total']! })
      return jobs.follow(handler, call.total)
    },
    router(call) {
      const where = `${WHERE}.router()`
      validateOptions(where, call, { authorize: callback, path: pathOption })
      if (call.authorize === undefined)
        throw optionError(
          where,
          'authorize',
          undefined,
          'a function that returns true for requests that may see a progress',
        )
      const find: FindProgress = (id, tenant) => (isId(id) ? keysOf(id, tenant, where) : undefined)
      return mountProgressRouter(topics, call, find)
    },
  }
}

const isId = (id: unknown): id is string =>
  typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH && id.isWellFormed()

/** What a change consists of. */
interface Change {
  readonly type: 'start' | 'step' | 'set' | 'done' | 'failed'
  readonly percent?: number
  readonly reason?: string | undefined
}

class StoredProgress implements Progress {
  readonly #topics: Topics
  readonly #keys: ProgressKeys
  readonly #total: number
  readonly #ttl: number

  constructor(topics: Topics, keys: ProgressKeys, total: number, ttl: number) {
    this.#topics = topics
    this.#keys = keys
    this.#total = total
    this.#ttl = ttl
  }

  get topic(): string {
    return this.#keys.feed.topic
  }

  start(options: ProgressChangeOptions = {}): Promise<ProgressState> {
    return this.#change({ type: 'start' }, options)
  }

  step(step?: string, options: Pick<ProgressChangeOptions, 'cost'> = {}): Promise<ProgressState> {
    return this.#change({ type: 'step' }, { ...options, ...(step !== undefined && { step }) })
  }

  async set(percent: number, options: ProgressChangeOptions = {}): Promise<ProgressState> {
    if (typeof percent !== 'number' || !(percent >= 0 && percent <= 100))
      throw invalid('set', 'the percentage must be a number from 0 to 100')
    return await this.#change({ type: 'set', percent }, options)
  }

  done(options: ProgressChangeOptions = {}): Promise<ProgressState> {
    return this.#change({ type: 'done' }, options)
  }

  fail(reason?: string, options: ProgressChangeOptions = {}): Promise<ProgressState> {
    return this.#change({ type: 'failed', reason }, options)
  }

  async get(): Promise<ProgressState | undefined> {
    const { key, feed } = this.#keys
    const [view = ''] = await this.#topics.context.store.run(readProgress, [key, feed.key], [])
    return parseState(view)
  }

  async #change(
    { percent = 0, reason, type }: Change,
    options: ProgressChangeOptions,
  ): Promise<ProgressState> {
    const method = type === 'failed' ? 'fail' : type
    validateOptions(`${WHERE}.${method}()`, options, { cost: COST, step: anyString })
    const { cost = 0, step } = options
    if (step !== undefined && !isShort(step, MAX_STEP_LENGTH))
      throw invalid(method, `the step must be a string of at most ${MAX_STEP_LENGTH} characters`)
    if (reason !== undefined && !isShort(reason, MAX_REASON_LENGTH))
      throw invalid(
        method,
        `the reason must be a string of at most ${MAX_REASON_LENGTH} characters`,
      )
    const { feed, key } = this.#keys
    const args = [
      type,
      this.#total,
      step === undefined ? '' : JSON.stringify(step),
      Math.round(percent * 100),
      Math.round(cost * 1e6),
      reason === undefined ? 'null' : JSON.stringify(reason),
      this.#ttl,
      ...this.#topics.appendArgs(feed),
    ]
    const view = await this.#topics.context.store.run(updateProgress, [key, feed.key], args)
    const state = parseState(view)
    if (state !== undefined) return state
    throw new TurnpikeError('TP_VALUE', `${WHERE}: Redis holds no progress where one must be.`)
  }
}

const isShort = (value: unknown, length: number): boolean =>
  typeof value === 'string' && value.length <= length

const invalid = (method: string, rule: string): TurnpikeError =>
  new TurnpikeError('TP_VALUE', `${WHERE}.${method}(): ${rule}.`)
