/** Tasks: their options, what payloads they accept, when they are retried. */
import { durationOption, durationValidator } from '../../duration.ts'
import { TurnpikeError } from '../../errors.ts'
import {
  callback,
  integer,
  isFunction,
  isObject,
  optionError,
  plainObject,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { JobHandler, TaskOptions } from './options.ts'
import { describeIssues, type PayloadSchema } from './standard-schema.ts'

/** Accepts the name of a task. */
export const taskNameValidator: Validator = {
  expected: "up to 60 letters, digits and '_.:/-'",
  accepts: (value) => typeof value === 'string' && /^[\w.:/-]{1,60}$/.test(value),
}

const schemaValidator: Validator = {
  expected: 'a schema with Standard Schema (zod, valibot, arktype)',
  accepts: (value) => {
    const standard = (
      (isObject(value) || isFunction(value) ? value : {}) as Partial<PayloadSchema>
    )['~standard']
    return isObject(standard) && isFunction(standard['validate'])
  },
}

const fraction: Validator = {
  expected: 'a number from 0 to 1',
  accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1,
}

/** A declared task. */
export class JobTask {
  readonly name: string
  readonly handler: JobHandler | undefined
  readonly timeoutMs: number
  /** Attempts in all. */
  readonly attempts: number
  readonly #schema: PayloadSchema | undefined
  readonly #maxBytes: number
  readonly #delayMs: number
  readonly #maxDelayMs: number
  readonly #jitter: number

  /** @throws TP_OPTION */
  constructor(name: string, options: TaskOptions<any>, handler: JobHandler | undefined) {
    const where = `queue.define('${name}')`
    validateOptions(where, options, {
      retries: integer(0, 100),
      backoff: plainObject,
      timeout: durationValidator,
      schema: schemaValidator,
      maxBytes: integer(1, 1_048_576),
    })
    if (handler !== undefined && !isFunction(handler))
      throw optionError(where, 'handler', handler, callback.expected)
    const { retries = 3, backoff = {}, timeout = '1m', schema, maxBytes = 65_536 } = options
    validateOptions(`${where}: backoff`, backoff, {
      delay: durationValidator,
      max: durationValidator,
      jitter: fraction,
    })
    this.name = name
    this.handler = handler
    this.attempts = retries + 1
    this.timeoutMs = durationOption(timeout, where, 'timeout')
    this.#schema = schema
    this.#maxBytes = maxBytes
    this.#delayMs = durationOption(backoff.delay ?? '60s', where, 'backoff.delay', 0)
    this.#maxDelayMs = durationOption(backoff.max ?? '1h', where, 'backoff.max', 0)
    this.#jitter = backoff.jitter ?? 0.1
  }

  /** Returns the pause after an attempt failed, in ms. @param attempt its number, from 1 */
  pauseAfter(attempt: number): number {
    const pause = Math.min(this.#delayMs * 2 ** (attempt - 1), this.#maxDelayMs)
    return Math.round(pause * (1 + Math.random() * this.#jitter))
  }

  /**
   * Returns a payload as it is stored: as JSON would restore it, valid for the schema.
   * @throws TP_JOB_PAYLOAD
   */
  async checkPayload(payload: unknown): Promise<unknown> {
    const json = this.#serialize(payload)
    if (Buffer.byteLength(json) > this.#maxBytes)
      throw payloadError(
        this.name,
        `it has more than ${this.#maxBytes} bytes as JSON. Store what is large elsewhere, and pass its ID.`,
        413,
      )
    const stored: unknown = JSON.parse(json)
    await this.parsePayload(stored)
    return stored
  }

  /** Returns what the schema makes of a stored payload, for the handler. @throws TP_JOB_PAYLOAD */
  async parsePayload(stored: unknown): Promise<unknown> {
    if (this.#schema === undefined) return stored
    const result = await this.#schema['~standard'].validate(stored)
    if (result.issues === undefined) return result.value
    throw payloadError(this.name, `${describeIssues(result.issues)}.`, 422)
  }

  #serialize(payload: unknown): string {
    let json: string | undefined
    try {
      json = JSON.stringify(payload ?? null)
    } catch {
      // A circle, a BigInt.
    }
    if (json !== undefined) return json
    throw payloadError(this.name, 'it cannot be stored as JSON.', 422)
  }
}

const payloadError = (task: string, what: string, status: number): TurnpikeError =>
  new TurnpikeError('TP_JOB_PAYLOAD', `The payload of '${task}' is invalid: ${what}`, { status })
