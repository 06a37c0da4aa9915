/** `tp.idempotency()` as a feature: a request in, a Plan out. */
import { isUnavailable, TurnpikeError } from '../../errors.ts'
import {
  passThrough,
  type Exchange,
  type Feature,
  type Plan,
  type Reply,
  type SentResponse,
} from '../../http/exchange.ts'
import { andThen, isPromise } from '../../http/promises.ts'
import { peekBody, isBodyAvailable, nodeRequestOf } from '../../http/request-body.ts'
import { isRequestOnly } from '../request-only.ts'
import type { IdempotencyEngine, Outcome } from './engine.ts'
import { problems, replay, storedFields } from './fields.ts'
import { digestOf, fingerprintOf } from './fingerprint.ts'
import { keyOf, ownerOf } from './keys.ts'
import type { Idempotency, IdempotencyOptions } from './options.ts'
import type { Run } from './run.ts'

/** Answers that ask the client to come back are no results. */
const PASSING = new Set([408, 423, 425, 429])
const isResult = (status: number): boolean => status < 500 && !PASSING.has(status)
const MEBIBYTE = 1_048_576

/** A claim that was asked for before its turn. */
interface Early {
  key: string
  begun: Promise<Outcome>
}

export function idempotencyFeature<Native>(
  engine: IdempotencyEngine,
  options: IdempotencyOptions<Native> & { wait: number },
): Feature<Native, Early> {
  const {
    wait,
    required = false,
    scope,
    fingerprint = 'body',
    skip,
    fail = 'closed',
    docsUrl,
  } = options
  const {
    store: isStored = isResult,
    maxBodyBytes = MEBIBYTE,
    maxRequestBytes = MEBIBYTE,
  } = options
  const { header = 'Idempotency-Key' } = options
  const methods = new Set(
    (options.methods ?? ['POST', 'PATCH']).map((method) => method.toUpperCase()),
  )
  const fieldsOf = storedFields(options.headers ?? [])
  const tell = problems(docsUrl, header)
  const { context } = engine
  const { name } = engine.options

  /** Whose key, on which route. */
  function tagOf(x: Exchange<Native>, key: string): string | Promise<string> {
    if (!scope) {
      const who = ownerOf(x)
      if (who[0] === 'address') {
        context.events.warn(
          'tp.idempotency() knows no user, Authorization or X-API-Key of some requests and tells their keys apart by address, which strangers may share: give it a scope.',
        )
      }
      return tagFor(x, key, who)
    }
    return andThen(scope(x.native), (own) => {
      if (
        own === undefined ||
        own === null ||
        own === '' ||
        (typeof own === 'object' && own.length === 0)
      ) {
        throw new TurnpikeError(
          'TP_KEY',
          'tp.idempotency(): scope gave nobody for this request. Refuse requests of nobody before they come here.',
        )
      }
      const who =
        typeof own === 'object' ? ['scopes', String(own.length), ...own] : ['scope', String(own)]
      return tagFor(x, key, who)
    })
  }

  function tagFor(
    x: Exchange<Native>,
    key: string,
    who: readonly string[],
  ): string | Promise<string> {
    // Neither Redis nor an event shows who used which key.
    const digest = digestOf(JSON.stringify([...who, x.method, x.route ?? pathOf(x), key]))
    if (!context.hasTenants) return context.keys.tag([name, digest])
    return andThen(context.tenantOf(x.native), (tenant) => context.keys.tag([name, digest], tenant))
  }

  function fingerprintFor(x: Exchange<Native>): string | Promise<string> {
    if (typeof fingerprint === 'function')
      return andThen(fingerprint(x.native), (own) => digestOf(`own${own}`))
    return andThen(peekBody(x.native, maxRequestBytes), (body) => {
      if (body.kind === 'unseen') {
        context.events.warn(
          'tp.idempotency() comes after somebody who reads the body and leaves nothing on the request, so it cannot compare bodies: mount it earlier, or give it a fingerprint.',
        )
      }
      const length = nodeRequestOf(x.native).headers['content-length'] ?? 'unknown'
      return fingerprintOf(x.url, body.kind === 'raw' ? { ...body, length } : body, fingerprint)
    })
  }

  function handle(x: Exchange<Native>, early?: Early): Promise<Plan> | Plan {
    if (early) return planned(x, early.begun, early.key)
    if (!methods.has(x.method)) return passThrough
    if (!skip) return handleKey(x)
    return andThen(skip(x.native), (skipped) => (skipped ? passThrough : handleKey(x)))
  }

  function handleKey(x: Exchange<Native>): Promise<Plan> | Plan {
    const { key, malformed } = keyOf(x, header.toLowerCase())
    if (malformed !== undefined) return answer(x, tell.malformed(x, malformed))
    if (key === undefined) return required ? answer(x, tell.missing(x)) : passThrough
    return andThen(tagOf(x, key), (tag) =>
      andThen(fingerprintFor(x), (print) => planned(x, begin(x, tag, print), key)),
    )
  }

  const begin = (x: Exchange<Native>, tag: string, print: string): Promise<Outcome> =>
    engine.begin(tag, print, { wait, budget: x.budget, signal: undefined })

  const planned = (x: Exchange<Native>, begun: Promise<Outcome>, key: string): Promise<Plan> =>
    begun.then(
      (outcome) =>
        outcome.kind === 'run' ? planOf(x, outcome.run, key) : answer(x, replyTo(x, outcome)),
      (error: unknown) => withoutKey(x, error),
    )

  /** Claim the key before those ran who stand before us, where nothing of theirs counts. */
  function prepare(x: Exchange<Native>): Early | undefined {
    if (!methods.has(x.method) || !isBodyAvailable(x.native)) return undefined
    const { key } = keyOf(x, header.toLowerCase())
    if (key === undefined) return undefined
    try {
      const tag = tagOf(x, key)
      const print = fingerprintFor(x)
      if (isPromise(tag) || isPromise(print)) return undefined
      const begun = begin(x, tag, print)
      begun.catch(ignore)
      return { key, begun }
    } catch {
      // What is wrong with the request is told at our turn.
      return undefined
    }
  }

  /** It was answered before our turn: nobody shall find it running. */
  function discard({ begun }: Early): void {
    begun.then((outcome) => {
      if (outcome.kind === 'run') outcome.run.discard().catch(report)
    }, ignore)
  }

  function withoutKey(x: Exchange<Native>, error: unknown): Plan {
    if (!isUnavailable(error)) throw error
    context.events.emit('unavailable', {
      feature: 'idempotency',
      name,
      reason: error.reason,
      uncertain: error.uncertain,
      rule: fail,
    })
    return fail === 'open' ? passThrough : answer(x, tell.away(x))
  }

  function replyTo(x: Exchange<Native>, outcome: Exclude<Outcome, { kind: 'run' }>): Reply {
    if (outcome.kind === 'answered') {
      const { answer } = outcome
      return answer.body ? replay(answer, answer.body) : tell.unkept(x, answer.status)
    }
    if (outcome.kind === 'running') return tell.running(x, outcome.leftMs)
    return tell[outcome.kind](x)
  }

  const report = (error: unknown): void =>
    context.events.emit('error', { feature: 'idempotency', name, error })

  function planOf(x: Exchange<Native>, run: Run, key: string): Plan {
    let sent: SentResponse | undefined
    let isFailed = false
    const release = (): void => void run.release().catch(report)
    return {
      state: { idempotency: new Attempt(key, run) },
      capture: {
        limit: maxBodyBytes,
        evenIfAborted: true,
        onComplete: (whole) => void (sent = whole),
        onError() {
          isFailed = true
          // The client may be gone, and nothing more be sent.
          release()
        },
      },
      beforeEnd(status) {
        const final = sent?.status ?? status
        if (isFailed || !isStored(final)) return run.release()
        return run.complete({
          status: final,
          headers: fieldsOf(sent?.headers ?? {}, x.method),
          body: sent?.body,
        })
      },
      onAbort: release,
    }
  }

  const isPrepared =
    scope !== undefined &&
    isRequestOnly(scope) &&
    !skip &&
    !context.hasTenants &&
    typeof fingerprint === 'string'
  return { name: 'idempotency', handle, ...(isPrepared && { prepare, discard }) }
}

/** What a handler finds: a class, since making an object with getters of its own takes longer than all its work. */
class Attempt implements Idempotency {
  readonly key: string
  readonly #run: Run

  constructor(key: string, run: Run) {
    this.key = key
    this.#run = run
  }
  get id(): string {
    return this.#run.id
  }
  get token(): number {
    return this.#run.token
  }
  get attempt(): number {
    return this.#run.attempt
  }
  get recovered(): boolean {
    return this.#run.recovered
  }
  get signal(): AbortSignal {
    return this.#run.lease.signal
  }
  readonly step: Idempotency['step'] = (name, work) => this.#run.step(name, work)
}

const pathOf = ({ url }: Exchange): string => url.split('?', 1)[0]!

function ignore(): void {}

/** What we answer ourselves: nobody will read the rest of the request. */
function answer<Native>({ native }: Exchange<Native>, reply: Reply): Plan {
  const req = nodeRequestOf(native)
  if (!req.complete) req.resume()
  return { reply }
}
