/** What pages receive while they are open (server-sent events, HTML 9.2). */
import { Readable } from 'node:stream'
import type { Plan } from '../http/exchange.ts'
import type { DashboardUser } from '../operations/dashboard.ts'
import type { PageName } from './pages.ts'
import { refusalPlan, replyPlan } from './replies.ts'

/** Pause between two readings of the pages that are open, in ms. */
const EVERY = 3000
/** Readings until something is sent in any case: proxies end idle connections. */
const HEARTBEAT = 5
/** After this time a stream ends, in ms. The browser connects again, and is authorized again. */
const MAX_AGE = 60_000
const MAX_STREAMS = 200
/** Most bytes that wait for a client. */
const MAX_BUFFER = 2 ** 20

type ReadPage = (page: PageName, user: DashboardUser) => Promise<string>

interface LiveStream {
  readonly page: PageName
  readonly user: DashboardUser
  readonly body: Readable
  readonly until: number
  last: string
  idle: number
  isOver: boolean
}

/**
 * Streams of all viewers. One timer reads each page that is open once, for all who look at it. It
 * stops with the last stream.
 */
export class LiveStreams {
  readonly #read: ReadPage
  readonly #streams = new Set<LiveStream>()
  #timer: NodeJS.Timeout | undefined

  constructor(read: ReadPage) {
    this.#read = read
  }

  /** Number of streams that are open. */
  get size(): number {
    return this.#streams.size
  }

  /** Opens a stream for a page. */
  open(page: PageName, user: DashboardUser, isHead: boolean): Plan {
    if (isHead) return replyPlan(200, 'text/event-stream', '')
    if (this.#streams.size >= MAX_STREAMS) return refusalPlan(503, 'Too many pages are open.')
    const body = new Readable({ read() {}, highWaterMark: MAX_BUFFER })
    const until = performance.now() + MAX_AGE
    const stream: LiveStream = { page, user, body, until, last: '', idle: 0, isOver: false }
    this.#streams.add(stream)
    body.once('close', () => this.#leave(stream))
    body.push('retry: 1000\n\n')
    this.#timer ??= setTimeout(() => void this.#tick(), EVERY)
    this.#timer.unref()
    const { reply: response } = replyPlan(200, 'text/event-stream', body)
    // nginx would keep events until its buffer is full.
    const headers = { ...response!.headers, 'X-Accel-Buffering': 'no' }
    return { reply: { ...response!, headers } }
  }

  /** Ends all streams in order. */
  endAll(): void {
    for (const stream of this.#streams) end(stream)
  }

  #leave(stream: LiveStream): void {
    this.#streams.delete(stream)
    if (this.#streams.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #tick(): Promise<void> {
    // The pages share readings, so viewers of one page cost Redis what one costs.
    await Promise.all(Array.from(this.#streams, (stream) => this.#send(stream)))
    clearTimeout(this.#timer)
    if (this.#streams.size === 0) return
    this.#timer = setTimeout(() => void this.#tick(), EVERY)
    this.#timer.unref()
  }

  async #send(stream: LiveStream): Promise<void> {
    const { body, page, user } = stream
    const json = await this.#read(page, user)
    if (body.destroyed || stream.isOver) return
    if (performance.now() > stream.until) return end(stream)
    if (json !== stream.last) body.push(`data: ${json}\n\n`)
    else if (++stream.idle >= HEARTBEAT) body.push(':\n\n')
    else return
    stream.idle = 0
    stream.last = json
    // The client does not read. It connects again.
    if (body.readableLength > MAX_BUFFER) body.destroy()
  }
}

function end(stream: LiveStream): void {
  if (!stream.isOver) stream.body.push(null)
  stream.isOver = true
}
