/** Makes jobs of what callers pass: checked, with defaults, IDs and owners. */
import { durationOption, durationValidator, parseDuration } from '../../duration.ts'
import type { ExtensionContext } from '../../extension.ts'
import { requireTenant } from '../../store/subject.ts'
import {
  anyOf,
  closestMatch,
  integer,
  isObject,
  nonEmptyString,
  oneOf,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../validate.ts'
import type { NewFlow, NewJob, NewSchedule } from './engine.ts'
import { childJobId, jobIdValidator, newJobId, storedId } from './job-id.ts'
import type { AddOptions, FlowEntry, ScheduleOptions } from './options.ts'
import type { JobTask } from './task.ts'

/** Most jobs that are added together. */
export const MAX_BATCH = 1000
const MAX_DELAY = 10 * 366 * 86_400_000
/** A schedule faster than that is a loop. */
const MIN_INTERVAL = 1000

const priorityValidator = oneOf('high', 'normal', 'low')
const dateValidator: Validator = {
  expected: 'a valid Date',
  accepts: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}
/** Options of `queue.add()`. */
export const ADD_OPTIONS: Record<string, Validator> = {
  priority: priorityValidator,
  in: durationValidator,
  at: dateValidator,
  id: jobIdValidator,
  tenant: nonEmptyString,
}
const FLOW_OPTIONS: Record<string, Validator> = { id: jobIdValidator, priority: priorityValidator }
const SCHEDULE: Record<string, Validator> = {
  every: anyOf(nonEmptyString, integer(MIN_INTERVAL)),
  timeZone: nonEmptyString,
  id: jobIdValidator,
  priority: priorityValidator,
  tenant: nonEmptyString,
}

/** Makes the jobs of one queue. */
export class JobFactory {
  readonly #context: ExtensionContext
  readonly #tasks: ReadonlyMap<string, JobTask>

  constructor(context: ExtensionContext, tasks: ReadonlyMap<string, JobTask>) {
    this.#context = context
    this.#tasks = tasks
  }

  /** Returns the schedule of a repeated job. @throws TP_OPTION, TP_KEY, TP_JOB_PAYLOAD */
  async schedule(name: string, payload: unknown, options: ScheduleOptions): Promise<NewSchedule> {
    const where = 'queue.add()'
    validateOptions(where, options, SCHEDULE)
    const { every, timeZone, id = name.replaceAll(/[:/]/g, '.'), priority = 'normal' } = options
    const task = this.#task(name, where)
    const tenant = requireTenant(this.#context, options.tenant, where)
    const everyMs = parseDuration(every)
    if (everyMs !== undefined && everyMs < MIN_INTERVAL)
      throw optionError(where, 'every', every, `at least ${MIN_INTERVAL} ms`)
    if (everyMs !== undefined && timeZone !== undefined)
      throw optionRuleError(where, 'timeZone', timeZone, 'timeZone is for cron expressions only.')
    const data = {
      payload: await task.checkPayload(payload),
      ...(tenant !== undefined && { tenant }),
    }
    return {
      id: storedId(id, tenant),
      pattern: everyMs === undefined ? String(every) : undefined,
      everyMs,
      timeZone,
      job: { task: name, data, priority, attempts: task.attempts },
    }
  }

  /** Returns a job to be stored. @throws TP_OPTION, TP_KEY, TP_JOB_PAYLOAD */
  async job(name: string, payload: unknown, options: AddOptions, where: string): Promise<NewJob> {
    validateOptions(where, options, ADD_OPTIONS)
    const { at, id = newJobId(), priority = 'normal' } = options
    if (options.in !== undefined && at !== undefined)
      throw optionRuleError(where, 'in', options.in, 'in and at exclude each other.')
    const task = this.#task(name, where)
    const tenant = requireTenant(this.#context, options.tenant, where)
    const delayMs =
      options.in === undefined
        ? Math.max(0, (at?.getTime() ?? 0) - this.#context.store.now())
        : durationOption(options.in, where, 'in', 0)
    if (delayMs > MAX_DELAY)
      throw at === undefined
        ? optionError(where, 'in', options.in, 'at most ten years')
        : optionError(where, 'at', at, 'a Date within ten years')
    return {
      id: storedId(id, tenant),
      task: name,
      data: { payload: await task.checkPayload(payload), ...(tenant !== undefined && { tenant }) },
      priority,
      delayMs,
      attempts: task.attempts,
    }
  }

  /** Returns a job with its children. @throws TP_OPTION, TP_KEY, TP_JOB_PAYLOAD */
  flow(entry: FlowEntry, tenant: string | undefined): Promise<NewFlow> {
    return this.#flow(entry, tenant, new Set(), undefined)
  }

  /** @param ids those of the whole flow. Two jobs of one ID would wait for each other. */
  async #flow(
    entry: unknown,
    tenant: string | undefined,
    ids: Set<string>,
    defaultId: string | undefined,
  ): Promise<NewFlow> {
    const where = 'queue.flow()'
    if (!isObject(entry)) throw optionError(where, 'entry', entry, 'an object with task')
    const { task, payload, children = [], ...options } = entry as unknown as FlowEntry
    validateOptions(where, options, FLOW_OPTIONS)
    if (!Array.isArray(children))
      throw optionError(where, 'children', children, 'a list of jobs, each an object with task')
    const id = options.id ?? defaultId
    const own = {
      ...options,
      ...(id !== undefined && { id }),
      ...(tenant !== undefined && { tenant }),
    }
    const job = await this.job(task, payload, own, where)
    if (ids.has(job.id))
      throw optionRuleError(where, 'id', id, 'Each job of a flow needs an ID of its own.')
    ids.add(job.id)
    if (ids.size > MAX_BATCH)
      throw optionRuleError(where, 'children', undefined, `A flow has at most ${MAX_BATCH} jobs.`)
    const all: NewFlow[] = []
    for (const [i, child] of (children as readonly unknown[]).entries())
      all.push(await this.#flow(child, tenant, ids, id && childJobId(id, i)))
    return { ...job, children: all }
  }

  /** @throws TP_OPTION for a task that is not declared */
  #task(name: string, where: string): JobTask {
    const task = this.#tasks.get(name)
    if (task !== undefined) return task
    const passed: unknown = name
    const near =
      typeof passed === 'string' ? closestMatch(passed, [...this.#tasks.keys()]) : undefined
    throw optionError(
      where,
      'task',
      name,
      'a task that queue.define() has declared in this process',
      near && `'${near}'`,
    )
  }
}

/** Returns whether options are those of a repeated job. */
export const isSchedule = (options: AddOptions | ScheduleOptions): options is ScheduleOptions =>
  isObject(options) && 'every' in options && options['every'] !== undefined
