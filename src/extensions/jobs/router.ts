/** `queue.router()`: jobs over HTTP. */
import type { Exchange, ExtensionContext, Feature, Plan } from '../../extension.ts'
import { passThrough, problemReply } from '../../extension.ts'
import { peekBody } from '../../http/request-body.ts'
import { closestMatch, isObject } from '../../validate.ts'
import { isJobId } from './job-id.ts'
import { JobStream, LAST_EVENT_ID } from './job-stream.ts'
import type { AddedJob, Job, JobCounts } from './job.ts'
import type { AddOptions, JobCallOptions, RouterAction, RouterOptions } from './options.ts'
import {
  acceptedReply,
  idempotentJobId,
  jsonReply,
  planForError,
  refuse,
  viewOf,
} from './requests.ts'

/** Longest request that adds a job, in bytes. */
const MAX_BODY_BYTES = 1_100_000

/** What the router needs of its queue. */
export interface RoutedQueue {
  readonly name: string
  readonly path: string
  readonly tasks: readonly string[]
  add(task: string, payload: unknown, options: AddOptions): Promise<AddedJob>
  get(id: string, options: JobCallOptions): Promise<Job | undefined>
  remove(id: string, options: JobCallOptions): Promise<boolean>
  counts(): Promise<JobCounts>
  watch(id: string, tenant: string | undefined, onChange: () => void): () => void
}

/** Where a request leads. */
interface Route {
  readonly kind: 'queue' | 'job' | 'stream'
  readonly id: string
}

const METHODS: Readonly<Record<Route['kind'], readonly string[]>> = {
  queue: ['GET', 'HEAD', 'POST'],
  job: ['GET', 'HEAD', 'DELETE'],
  stream: ['GET', 'HEAD'],
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i
const TOO_LARGE = Symbol('too large')

const UNKNOWN = refuse(404, 'TP_JOB_UNKNOWN', 'There is no such job.')
const FORBIDDEN = refuse(403, 'TP_FORBIDDEN', 'This is not permitted.')

/** Serves the jobs of one queue. */
export class JobRouter<Native> implements Feature<Native> {
  readonly name = 'jobs'
  readonly #context: ExtensionContext<Native>
  readonly #queue: RoutedQueue
  readonly #options: RouterOptions<Native>
  readonly #streams = new Set<JobStream>()

  constructor(
    context: ExtensionContext<Native>,
    queue: RoutedQueue,
    options: RouterOptions<Native>,
  ) {
    this.#context = context
    this.#queue = queue
    this.#options = options
    // A stream would keep its server from closing.
    context.closing.addEventListener('abort', () => {
      for (const stream of this.#streams) stream.stop()
    })
  }

  async handle(x: Exchange<Native>): Promise<Plan> {
    const route = this.#routeOf(x)
    if (route === undefined) return passThrough
    const methods = METHODS[route.kind]
    if (!methods.includes(x.method)) {
      const reply = problemReply({ title: 'Method Not Allowed', status: 405 }, x)
      return { reply: { ...reply, headers: { ...reply.headers, Allow: methods.join(', ') } } }
    }
    try {
      if (route.kind !== 'queue') return await this.#serveJob(x, route)
      return x.method === 'POST' ? await this.#add(x) : await this.#counts(x)
    } catch (error) {
      return planForError(error, this.#context, this.#queue.name)
    }
  }

  #routeOf(x: Exchange<Native>): Route | undefined {
    let path = pathOf(x.routedUrl)
    // Below a mount path the framework has removed it.
    if (path === pathOf(x.url)) {
      const { path: own } = this.#queue
      if (path !== own && !path.startsWith(`${own}/`)) return undefined
      path = path.slice(own.length)
    }
    const [id = '', action, ...rest] = path.replace(/^\//, '').split('/')
    if (id === '' && action === undefined) return { kind: 'queue', id }
    if (!isJobId(id) || rest.length > 0) return undefined
    if (action === undefined || action === '') return { kind: 'job', id }
    return action === 'stream' ? { kind: 'stream', id } : undefined
  }

  async #isAllowed(x: Exchange<Native>, action: RouterAction): Promise<boolean> {
    return (await this.#options.authorize(x.native, action)) === true
  }

  async #counts(x: Exchange<Native>): Promise<Plan> {
    const action = { type: 'counts', task: undefined, job: undefined } as const
    if (!(await this.#isAllowed(x, action))) return FORBIDDEN
    return jsonReply(200, await this.#queue.counts())
  }

  async #add(x: Exchange<Native>): Promise<Plan> {
    // Forms of other sites can send every type but this one with the user's cookies.
    if (!JSON_TYPE.test(x.header('content-type') ?? ''))
      return refuse(415, 'TP_JOB_PAYLOAD', 'The Content-Type must be application/json.')
    const body = await readJson(x)
    if (body === TOO_LARGE) return refuse(413, 'TP_JOB_PAYLOAD', 'The body is too large.')
    if (!isObject(body))
      return refuse(400, 'TP_JOB_PAYLOAD', 'The body must be a JSON object with task and payload.')
    const { task, payload, ...others } = body
    const [unexpected] = Object.keys(others)
    if (unexpected !== undefined)
      return refuse(400, 'TP_JOB_PAYLOAD', 'The body has members besides task and payload.')
    if (typeof task !== 'string') return refuse(400, 'TP_JOB_PAYLOAD', 'task must be a string.')
    const action = { type: 'add', task, job: undefined } as const
    if (!(await this.#isAllowed(x, action))) return FORBIDDEN
    const { tasks } = this.#queue
    if (!tasks.includes(task)) {
      const near = closestMatch(task.slice(0, 60), tasks)
      const hint = near === undefined ? '' : ` Did you mean ${near}?`
      return refuse(422, 'TP_JOB_PAYLOAD', `There is no such task.${hint}`)
    }
    const tenant = await this.#context.tenantOf(x.native)
    const id = idempotentJobId(x, task)
    const added = await this.#queue.add(task, payload, {
      ...(id !== undefined && { id }),
      ...(tenant !== undefined && { tenant }),
    })
    return acceptedReply(added, this.#queue.path)
  }

  async #serveJob(x: Exchange<Native>, { id, kind }: Route): Promise<Plan> {
    const tenant = await this.#context.tenantOf(x.native)
    const owner = tenant === undefined ? {} : { tenant }
    const job = await this.#queue.get(id, owner)
    if (job === undefined) return UNKNOWN
    const type = x.method === 'DELETE' ? 'remove' : kind === 'stream' ? 'stream' : 'read'
    // A stranger must not learn that the job exists.
    if (!(await this.#isAllowed(x, { type, task: job.task, job }))) return UNKNOWN
    if (type === 'read') return jsonReply(200, viewOf(job))
    if (type === 'stream') return this.#stream(x, id, tenant)
    return (await this.#queue.remove(id, owner)) ? { reply: { status: 204 } } : UNKNOWN
  }

  #stream(x: Exchange<Native>, id: string, tenant: string | undefined): Plan {
    // An EventSource connects again when a stream ends. 204 tells it to stop.
    if (x.header('last-event-id') === LAST_EVENT_ID) return { reply: { status: 204 } }
    const { maxStreams = 1000 } = this.#options
    // One that begins after the instance has ended all others would keep its server from closing.
    if (this.#context.closing.aborted || this.#streams.size >= maxStreams)
      return {
        refusal: {
          status: 503,
          code: 'TP_UNAVAILABLE',
          detail: 'Too many streams are open.',
          retryAfterMs: 5000,
        },
      }
    const owner = tenant === undefined ? {} : { tenant }
    const stream: JobStream = new JobStream({
      read: async () => {
        const job = await this.#queue.get(id, owner)
        return job && { view: viewOf(job), isFinished: job.finishedAt !== undefined }
      },
      watch: (onChange) => this.#queue.watch(id, tenant, onChange),
      onEnd: () => this.#streams.delete(stream),
    })
    this.#streams.add(stream)
    return {
      reply: {
        status: 200,
        headers: {
          'Content-Type': 'text/event-stream; charset=utf-8',
          // no-transform: a compressing middleware would hold events back.
          'Cache-Control': 'no-cache, no-transform',
          'X-Accel-Buffering': 'no',
        },
        body: stream,
      },
    }
  }
}

const pathOf = (url: string): string => url.split('?', 1)[0]!

/** Returns the body as JSON, whether a body parser has read it or not. Undefined for anything else, TOO_LARGE for one that was not read to its end. */
async function readJson(x: Exchange): Promise<unknown> {
  const body = await peekBody(x.native, MAX_BODY_BYTES)
  if (body.kind === 'parsed') return body.value
  if (body.kind === 'unseen') return undefined
  if (!body.isWhole) return TOO_LARGE
  try {
    return JSON.parse(body.bytes.toString()) as unknown
  } catch {
    return undefined
  }
}
