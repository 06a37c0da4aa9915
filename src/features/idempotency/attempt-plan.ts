/** How a request whose handler runs takes part in the response. */
import { TurnpikeError } from '../../errors.ts'
import type { Exchange, PassPlan, SentHead, SentResponse } from '../../http/exchange.ts'
import { watchUpload } from '../../http/request-body.ts'
import type { Attempt } from './attempt.ts'
import type { Idempotency } from './options.ts'
import type { HeaderFilter } from './replay.ts'

export interface AttemptPlanOptions {
  /** Longest body that is stored, in bytes. */
  maxBodyBytes: number
  /** Says whether a response is stored, by status. */
  isStored(status: number): boolean
  filterHeaders: HeaderFilter
  /** Reports an error that no request waits for. */
  reportError(error: unknown): void
}

/** Returns the plan of an attempt. */
export function createAttemptPlan(
  x: Exchange,
  attempt: Attempt,
  key: string,
  options: AttemptPlanOptions,
): PassPlan {
  const { maxBodyBytes, isStored, filterHeaders, reportError } = options
  const isBrokenOff = watchUpload(x.native)
  let head: SentHead | undefined
  let body: SentResponse['body'] | undefined
  let isUnwound = false
  const inBackground = (write: Promise<void>): void => void write.catch(reportError)
  const store = ({ status, headers }: Pick<SentHead, 'status' | 'headers'>): Promise<void> =>
    attempt.complete({
      status,
      headers: filterHeaders(headers, x.method, head?.field('connection')),
      removed: head?.removed ?? [],
      body,
    })

  return {
    state: { idempotency: new HandlerView(key, attempt) },
    capture: {
      limit: maxBodyBytes,
      evenIfAborted: true,
      onHead: (seen) => void (head = seen),
      onComplete: (whole) => void ({ body } = whole),
      onError() {
        isUnwound = true
        // If the client has gone, nothing more is sent, and commit is not called.
        inBackground(attempt.release())
      },
    },
    commit(status, isFailed) {
      const sent = head ?? { status, headers: {} }
      // An error has taken the response's place, or the response is about a request that is not whole.
      const isVoid = isFailed || isUnwound || isBrokenOff() || !isStored(status)
      return isVoid || !isStored(sent.status) ? attempt.release() : store(sent)
    },
    onAbort: () => inBackground(attempt.release()),
    onFinish() {
      if (attempt.hasEnded) return
      if (isBrokenOff()) inBackground(attempt.abandon(brokenOffError()))
      // The client left while its response was streamed. The effect has happened: it must not happen
      // again. If the handler still ends the response, its body is stored then.
      else if (head !== undefined)
        inBackground(isStored(head.status) ? store(head) : attempt.release())
    },
  }
}

const brokenOffError = (): TurnpikeError =>
  new TurnpikeError('TP_REQUEST_ABORTED', 'The client left before its request had arrived.', {
    status: 400,
  })

/** What a handler finds. A class: an object with getters of its own is slower to make. */
class HandlerView implements Idempotency {
  readonly key: string
  readonly #attempt: Attempt

  constructor(key: string, attempt: Attempt) {
    this.key = key
    this.#attempt = attempt
  }
  get id(): string {
    return this.#attempt.id
  }
  get token(): number {
    return this.#attempt.token
  }
  get attempt(): number {
    return this.#attempt.attempt
  }
  get recovered(): boolean {
    return this.#attempt.recovered
  }
  get signal(): AbortSignal {
    return this.#attempt.signal
  }
  readonly step: Idempotency['step'] = (name, work) => this.#attempt.step(name, work)
}
