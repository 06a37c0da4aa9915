/** `tp.idempotency()` as a feature: a request in, a Plan out. */
import { applyFailureRule } from '../failure-rule.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../http/exchange.ts'
import { andThen, isPromise } from '../../http/promises.ts'
import { isBodyAvailable, nodeRequestOf } from '../../http/request-body.ts'
import type { RequestHoldings } from '../request-holdings.ts'
import { isRequestOnly } from '../request-only.ts'
import { createAttemptPlan, type AttemptPlanOptions } from './attempt-plan.ts'
import type { BeginResult, IdempotencyEngine } from './engine.ts'
import { createFingerprint } from './fingerprint.ts'
import type { IdempotencyOptions, IdempotencyRefusal } from './options.ts'
import { createRefusals, type IdempotencyRefusals } from './refusals.ts'
import { createHeaderFilter, replayOf } from './replay.ts'
import { createKeyOf, createTagOf, isHostAmbiguous, type ClientKey } from './request-key.ts'

/** Responses that are no results: the client is to come back, its upload was not read (413), or it has left (499). */
const TEMPORARY = new Set([408, 413, 423, 425, 429, 499])
const isResult = (status: number): boolean => status < 500 && !TEMPORARY.has(status)
const MEBIBYTE = 1_048_576

/** A key that was claimed before its turn in a pipeline. */
interface Early {
  key: string
  begun: Promise<BeginResult>
}

/** Creates the feature. @param options validated; `wait` in ms */
export function createIdempotencyFeature<Native>(
  engine: IdempotencyEngine,
  options: IdempotencyOptions<Native> & { wait: number },
  holdings: RequestHoldings,
): Feature<Native, Early> {
  const { key, scope, skip, fingerprint } = options
  const steps = new RequestSteps(engine, options, holdings)
  // A pipeline may claim the key before its other members run, unless something of theirs counts.
  const isPrepared =
    scope !== undefined &&
    isRequestOnly(scope) &&
    !key &&
    !skip &&
    !engine.context.hasTenants &&
    typeof fingerprint !== 'function'
  return {
    name: 'idempotency',
    handle: (x, early) => steps.handle(x, early),
    ...(isPrepared && {
      prepare: (x: Exchange<Native>) => steps.prepare(x),
      discard: (early: Early) => steps.discard(early),
    }),
  }
}

/** What a mount does with a request. */
class RequestSteps<Native> {
  readonly #engine: IdempotencyEngine
  readonly #options: IdempotencyOptions<Native> & { wait: number }
  readonly #methods: ReadonlySet<string>
  readonly #holdings: RequestHoldings
  readonly #refusals: IdempotencyRefusals
  readonly #keyOf: (x: Exchange<Native>) => ClientKey | Promise<ClientKey>
  readonly #tagOf: (x: Exchange<Native>, key: string) => string | Promise<string>
  readonly #fingerprintOf: (x: Exchange<Native>) => string | Promise<string>
  readonly #attemptOptions: AttemptPlanOptions

  constructor(
    engine: IdempotencyEngine,
    options: IdempotencyOptions<Native> & { wait: number },
    holdings: RequestHoldings,
  ) {
    const { header = 'Idempotency-Key', methods = ['POST', 'PATCH'], docsUrl } = options
    const { maxRequestBytes = MEBIBYTE, maxBodyBytes = MEBIBYTE, fingerprint = 'body' } = options
    const { context } = engine
    this.#engine = engine
    this.#options = options
    this.#methods = new Set(methods.map((method) => method.toUpperCase()))
    this.#holdings = holdings
    this.#refusals = createRefusals(options.key ? undefined : header, docsUrl)
    this.#keyOf = createKeyOf(header, options.key)
    this.#tagOf = createTagOf(context, engine.options.name, options.scope)
    this.#fingerprintOf = createFingerprint(context, fingerprint, maxRequestBytes)
    this.#attemptOptions = {
      maxBodyBytes,
      isStored: options.store ?? isResult,
      filterHeaders: createHeaderFilter(options.omitHeaders ?? []),
      reportError: (error) => this.#reportError(error),
    }
  }

  handle(x: Exchange<Native>, early: Early | undefined): Promise<Plan> | Plan {
    if (early) return this.#planOf(x, early)
    if (!this.#methods.has(x.method)) return passThrough
    const { skip } = this.#options
    if (!skip) return this.#handleKey(x)
    return andThen(skip(x.native), (skipped) => (skipped ? passThrough : this.#handleKey(x)))
  }

  /** Claims the key before the members of a pipeline that stand before this one have run. */
  prepare(x: Exchange<Native>): Early | undefined {
    if (!this.#methods.has(x.method) || !isBodyAvailable(x.native)) return undefined
    const found = this.#keyOf(x)
    if (isPromise(found) || found.key === undefined) return undefined
    const { key } = found
    if (this.#isHeld(x, key) || isHostAmbiguous(x)) return undefined
    try {
      const tag = this.#tagOf(x, key)
      const fingerprint = this.#fingerprintOf(x)
      if (isPromise(tag) || isPromise(fingerprint)) return undefined
      const begun = this.#begin(x, tag, fingerprint)
      // An earlier member may reply. Then no one handles a rejection.
      begun.catch(ignore)
      return { key, begun }
    } catch {
      // What is wrong with the request is reported at its turn.
      return undefined
    }
  }

  /** Releases a key that was claimed early: an earlier member has replied. */
  discard({ begun }: Early): void {
    begun.then((result) => {
      if (result.kind === 'attempt')
        result.attempt.discard().catch((error: unknown) => this.#reportError(error))
    }, ignore)
  }

  #handleKey(x: Exchange<Native>): Promise<Plan> | Plan {
    return andThen(this.#keyOf(x), ({ key, malformed }) => {
      if (malformed !== undefined) return this.#refuse(x, this.#refusals.malformed(malformed))
      if (key === undefined)
        return this.#options.required ? this.#refuse(x, this.#refusals.missing()) : passThrough
      if (this.#isHeld(x, key)) return passThrough
      if (isHostAmbiguous(x)) return this.#refuse(x, this.#refusals.ambiguousHost())
      return andThen(this.#tagOf(x, key), (tag) =>
        andThen(this.#fingerprintOf(x), (fingerprint) =>
          this.#planOf(x, { key, begun: this.#begin(x, tag, fingerprint) }),
        ),
      )
    })
  }

  /**
   * Returns true if an outer mount holds the client's key. Routes and users count for nothing here:
   * the outer mount may not know them yet, and it is the same request.
   */
  #isHeld(x: Exchange<Native>, key: string): boolean {
    return this.#holdings.has(x, this.#holdingOf(key))
  }

  #holdingOf(key: string): string {
    return `${this.#engine.options.name} ${key}`
  }

  #begin(x: Exchange<Native>, tag: string, fingerprint: string): Promise<BeginResult> {
    return this.#engine.begin(tag, fingerprint, { wait: this.#options.wait, budget: x.budget })
  }

  #planOf(x: Exchange<Native>, early: Early): Promise<Plan> | Plan {
    const { key, begun } = early
    // In a pipeline, an outer mount may have claimed the key after this one was prepared.
    if (this.#isHeld(x, key)) {
      this.discard(early)
      return passThrough
    }
    return begun.then(
      (result) => {
        if (result.kind === 'attempt') {
          this.#holdings.add(x, this.#holdingOf(key))
          return createAttemptPlan(x, result.attempt, key, this.#attemptOptions)
        }
        if (result.kind === 'completed' && result.response.body) {
          drain(x)
          return { reply: replayOf(result.response, result.response.body) }
        }
        return this.#refuse(x, this.#refusalOf(result))
      },
      (error: unknown) => this.#whenUnavailable(x, error),
    )
  }

  #refusalOf(result: Exclude<BeginResult, { kind: 'attempt' }>): IdempotencyRefusal {
    switch (result.kind) {
      case 'completed':
        return this.#refusals.notStored(result.response.status)
      case 'running':
        // If its process has crashed, the key is free when its lease ends.
        return this.#refusals.running(Math.min(this.#engine.runTimes.estimate(), result.leftMs))
      case 'mismatch':
        return this.#refusals.mismatch()
      default:
        return this.#refusals.interrupted()
    }
  }

  #whenUnavailable(x: Exchange<Native>, error: unknown): Plan {
    const { context, options } = this.#engine
    const source = { feature: 'idempotency', name: options.name }
    const rule = applyFailureRule(context.events, source, this.#options.fail ?? 'closed', error)
    return rule === 'open' ? passThrough : this.#refuse(x, this.#refusals.unavailable())
  }

  #refuse(x: Exchange<Native>, refusal: IdempotencyRefusal): Plan {
    drain(x)
    return { refusal, replyWith: this.#options.reply }
  }

  #reportError(error: unknown): void {
    const { context, options } = this.#engine
    context.events.emit('error', { feature: 'idempotency', name: options.name, error })
  }
}

/** Discards the rest of the request's body: no handler reads it. */
function drain({ native }: Exchange): void {
  const req = nodeRequestOf(native)
  if (!req.complete) req.resume()
}

function ignore(): void {}
