/** Writes the random statements of a handler. */
import { isHttp2, isKoa, type Chunk, type Draft, type Step } from './program.ts'
import type { Random } from './random.ts'

export const TEXTS: readonly string[] = [
  '',
  'a',
  'hello',
  'grüße ✓',
  'x'.repeat(300),
  'y'.repeat(20_000),
]

/** Writes the statements of one handler. */
export class StepWriter {
  readonly #random: Random
  readonly #draft: Draft
  readonly #steps: Step[] = []
  /** May the response itself be written, or does Koa write it? */
  readonly #isRaw: boolean

  constructor(random: Random, draft: Draft) {
    this.#random = random
    this.#draft = draft
    this.#isRaw = !isKoa(draft.target) || draft.isPastKoa
  }

  write(): Step[] {
    const random = this.#random
    if (this.#draft.body.length > 0 && random.chance(0.6)) this.#add({ do: 'readBody' })
    this.#maybeWait(0.3)
    if (random.chance(0.4)) this.#add({ do: 'changeSession' })
    if (random.chance(0.4)) this.#setFields()
    // What comes after a failure is a race with the error handler.
    if (random.chance(0.08)) {
      this.#fail()
      return this.#steps.filter((step) => this.#draft.isAsync || !isAsync(step))
    }
    this.#answer()
    // What comes after a stream has begun is a race without turnpike, too.
    const isStream = this.#steps.some(({ do: what }) => what === 'stream' || what === 'sendFile')
    if (!isStream && random.chance(0.25)) {
      this.#maybeWait(0.5, ['tick', 'immediate', 'timer'])
      this.#afterwards()
    }
    if (!this.#draft.isAsync) return this.#steps.filter((step) => !isAsync(step))
    return this.#steps
  }

  #add(...steps: Step[]): void {
    this.#steps.push(...steps)
  }

  #maybeWait(
    probability: number,
    // Whether a microtask comes before node has sent something, depends on who called the handler.
    kinds: readonly (Step & { do: 'wait' })['for'][] = ['microtask', 'tick', 'immediate', 'timer'],
  ): void {
    if (this.#random.chance(probability)) this.#add({ do: 'wait', for: this.#random.pick(kinds) })
  }

  #setFields(): void {
    const random = this.#random
    this.#add({ do: 'set', name: 'X-Handler', value: random.pick(['1', 'two']) })
    if (random.chance(0.3)) this.#add({ do: 'set', name: 'Set-Cookie', value: ['app=1', 'b=2'] })
    if (random.chance(0.3)) this.#add({ do: 'set', name: 'Vary', value: 'Accept' })
    if (random.chance(0.3)) {
      const value = random.pick(['no-store', 'public, max-age=60', 'private'])
      this.#add({ do: 'set', name: 'Cache-Control', value })
    }
    if (random.chance(0.2)) this.#add({ do: 'set', name: 'ETag', value: '"v1"' })
  }

  #answer(): void {
    const random = this.#random
    const ways = [() => this.#send(), () => this.#stream(), () => this.#redirectOrFile()]
    if (this.#isRaw)
      ways.push(
        () => this.#pieces(),
        () => this.#pieces(),
        () => this.#events(),
      )
    random.pick(ways)()
  }

  #status(): number {
    return this.#random.pick([200, 200, 200, 201, 203, 204, 304, 400, 404, 500])
  }

  #send(): void {
    const body = this.#random.pick(['string', 'object', 'Buffer', 'empty', 'null', 'long'] as const)
    this.#add({ do: 'send', status: this.#status(), body })
  }

  #stream(): void {
    const random = this.#random
    const chunks = random.below(4)
    const { target, isPastKoa } = this.#draft
    // Koa 2 leaves a client waiting whose stream has failed. HTTP/2 sends a part of what was written.
    const mayFail = !isHttp2(target) && (!target.startsWith('Koa 2') || isPastKoa)
    const hasLength = random.chance(0.3)
    // The last byte of a known length waits for the end, which does not come after a failure.
    const places = hasLength ? chunks : chunks + 1
    const failsAt = mayFail && places > 0 && random.chance(0.25) ? random.below(places) : undefined
    this.#add({ do: 'stream', chunks, failsAt, hasLength, pieces: random.pick([1, 10, 9_000]) })
  }

  #redirectOrFile(): void {
    const random = this.#random
    if (random.chance(0.5)) this.#add({ do: 'redirect', status: random.pick([301, 302, 303, 307]) })
    else this.#add({ do: 'sendFile', isMissing: this.#mayMiss() && random.chance(0.15) })
  }

  #mayMiss(): boolean {
    const { target, mounts } = this.#draft
    // A client of HTTP/2 that reads a reset may have dropped the part of the body before it.
    if (isHttp2(target)) return false
    if (!isKoa(target)) return true
    // Koa answers the stream's error itself, which idempotency does not store.
    return !mounts.flat().includes('idempotency')
  }

  #chunk(): Chunk {
    const random = this.#random
    // Over HTTP/2, Node 20 sends other memory in place of what follows an empty chunk.
    const texts = isHttp2(this.#draft.target) ? TEXTS.slice(1) : TEXTS
    return {
      text: random.pick(texts),
      as: random.pick(['string', 'latin1', 'base64', 'Buffer', 'Uint8Array'] as const),
    }
  }

  /** The head in one of its forms, the body in pieces, the end. */
  #pieces(): void {
    const random = this.#random
    const status = this.#status()
    // Over HTTP/2 a head without a body ends the stream, so that a body comes too late. That is
    // the same with turnpike, but an assertion of Node 20 (~Http2Session) may then end the process.
    const isEmpty = (status === 204 || status === 304) && isHttp2(this.#draft.target)
    const chunks = isEmpty ? [] : random.list(0, 3, () => this.#chunk())
    const last = !isEmpty && random.chance(0.5) ? this.#chunk() : undefined
    const is11 = this.#draft.version === '1.1'
    if (random.chance(0.1) && is11) {
      this.#add({ do: random.pick(['earlyHints', 'processing'] as const) })
    }
    const length = random.chance(0.3) ? lengthOf([...chunks, ...(last ? [last] : [])]) : undefined
    // Idempotency does not store a response of the wrong length, and HTTP/2 sends a part of it.
    const mayBeWrong = this.#draft.method !== 'POST' && !isHttp2(this.#draft.target)
    const wrong = mayBeWrong && random.chance(0.1) ? random.pick([-1, 1]) : 0
    const field =
      length === undefined
        ? []
        : [['Content-Length', String(Math.max(0, length + wrong))] as [string, string]]
    if (random.chance(0.5)) this.#head(status, field)
    else {
      this.#add({ do: 'status', status })
      for (const [name, value] of field) this.#add({ do: 'set', name, value })
    }
    this.#maybeWait(0.3)
    if (random.chance(0.2)) this.#add({ do: 'flush' })
    const isCorked = random.chance(0.1)
    if (isCorked) this.#add({ do: 'cork' })
    for (const chunk of chunks) {
      this.#add({ do: 'write', chunk })
      this.#maybeWait(0.3)
      if (random.chance(0.1)) this.#add({ do: 'changeSession' })
    }
    if (isCorked) this.#add({ do: 'uncork' })
    const isChunked = is11 && length === undefined && chunks.length > 0
    const hasBody = this.#draft.method !== 'HEAD' && status !== 204 && status !== 304
    if (isChunked && hasBody && random.chance(0.2)) this.#add({ do: 'trailers' })
    this.#add({ do: 'end', ...(last && { chunk: last }), hasCallback: random.chance(0.3) })
  }

  #head(status: number, more: [string, string][]): void {
    const random = this.#random
    const form = random.pick(['status', 'reason', 'object', 'list', 'reason and object'] as const)
    const fields: [string, string][] = [['X-Head', 'given'], ...more]
    if (random.chance(0.3)) fields.push(['Content-Type', 'text/plain'])
    if (form === 'status' || form === 'reason') {
      for (const [name, value] of fields) this.#add({ do: 'set', name, value })
    }
    this.#add({ do: 'writeHead', form, status, fields })
  }

  /** Server-sent events: each must reach the client before the next is written. */
  #events(): void {
    const random = this.#random
    const count = 1 + random.below(3)
    const isLive =
      this.#draft.method === 'GET' && this.#draft.leaves === 'never' && this.#draft.isAsync
    this.#add({
      do: 'writeHead',
      form: 'object',
      status: 200,
      fields: [['Content-Type', 'text/event-stream']],
    })
    if (random.chance(0.5)) this.#add({ do: 'flush' })
    for (let index = 0; index < count; index++) {
      const text = `data: event ${index}\n\n`
      this.#add({ do: 'write', chunk: { text, as: 'string' } })
      if (isLive) this.#add({ do: 'awaitClient', text })
      this.#maybeWait(0.3)
      if (random.chance(0.2)) this.#add({ do: 'changeSession' })
    }
    this.#add({ do: 'end', hasCallback: false })
  }

  #fail(): void {
    const random = this.#random
    const status = random.pick([undefined, 400, 503])
    if (random.chance(0.5) || isKoa(this.#draft.target)) this.#add({ do: 'throw', status })
    else this.#add({ do: 'next', status, isError: random.chance(0.6) })
  }

  /** What should not come after an answer, and does. */
  #afterwards(): void {
    const random = this.#random
    const ways = [() => this.#fail(), () => this.#fail()]
    ways.push(() => this.#add({ do: 'changeSession' }))
    // Without a listener, node ends the process for what is written to an ended response.
    const mayWrite = this.#draft.hasErrorListener
    const isExpress = this.#draft.target.startsWith('Express')
    if (mayWrite || isExpress || !this.#isRaw)
      ways.push(
        () => this.#send(),
        () => this.#send(),
      )
    const { target, body, isAsync: canRead } = this.#draft
    // Node reads the next request once a body is read. Whoever read it ahead gets the next one earlier.
    const isRead = body.length === 0 || (canRead && this.#steps[0]?.do === 'readBody')
    // HTTP/2 has sent nothing when a handler destroys its stream in the same tick. With pieces of an
    // upload unread, the reset may overtake the response (RFC 9112, 9.6).
    if (!isHttp2(target) && (isRead || body.length === 1)) {
      const whats = isRead ? (['response', 'connection'] as const) : (['response'] as const)
      ways.push(() => this.#add({ do: 'destroy', what: random.pick(whats) }))
    }
    if (this.#isRaw) {
      ways.push(() => this.#head(this.#status(), []))
      ways.push(() => this.#add({ do: 'set', name: 'X-Late', value: '1' }))
      ways.push(() => this.#add({ do: 'status', status: 500 }))
      ways.push(() => this.#add({ do: 'flush' }))
      ways.push(() => this.#add({ do: 'end', hasCallback: random.chance(0.5) }))
      if (mayWrite) {
        ways.push(() => this.#add({ do: 'write', chunk: this.#chunk() }))
        ways.push(() => this.#add({ do: 'end', chunk: this.#chunk(), hasCallback: false }))
      }
    }
    random.pick(ways)()
  }
}

const isAsync = (step: Step): boolean =>
  step.do === 'wait' || step.do === 'readBody' || step.do === 'awaitClient'

/** Returns the bytes of a chunk. */
function bytesOf({ text, as }: Chunk): Buffer {
  return Buffer.from(text, as === 'latin1' ? 'latin1' : 'utf8')
}

const lengthOf = (chunks: readonly Chunk[]): number =>
  chunks.reduce((sum, chunk) => sum + bytesOf(chunk).length, 0)
