/** How a request whose handler runs takes part in the response. */
import type { Exchange, HeaderFields, PassPlan, SentResponse } from '../../http/exchange.ts'
import type { Attempt } from './attempt.ts'
import type { Idempotency } from './options.ts'

export interface AttemptPlanOptions {
  /** Longest body that is stored, in bytes. */
  maxBodyBytes: number
  /** Says whether a response is stored, by status. */
  isStored(status: number): boolean
  /** Selects the header fields to be stored. */
  filterHeaders(headers: HeaderFields, method: string): HeaderFields
  /** Reports an error that no request waits for. */
  reportError(error: unknown): void
}

/** Returns the plan of an attempt. */
export function createAttemptPlan(
  { method }: Exchange,
  attempt: Attempt,
  key: string,
  { maxBodyBytes, isStored, filterHeaders, reportError }: AttemptPlanOptions,
): PassPlan {
  let sent: SentResponse | undefined
  let isFailed = false
  const release = (): void => void attempt.release().catch(reportError)
  return {
    state: { idempotency: new HandlerView(key, attempt) },
    capture: {
      limit: maxBodyBytes,
      evenIfAborted: true,
      onComplete: (whole) => void (sent = whole),
      onError() {
        isFailed = true
        // If the client has gone, nothing more is sent, and beforeEnd is not called.
        release()
      },
    },
    beforeEnd(status) {
      const final = sent?.status ?? status
      if (isFailed || !isStored(final)) return attempt.release()
      const headers = filterHeaders(sent?.headers ?? {}, method)
      return attempt.complete({ status: final, headers, body: sent?.body })
    },
    onAbort: release,
  }
}

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
