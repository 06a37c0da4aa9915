/** Near hits that `tp.cacheListener()` answers before the framework gets the request. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { Plan, RequestHead } from '../../http/exchange.ts'
import { demandReason } from './bypass.ts'
import type { Target } from './resource.ts'

/** Replies from the near cache. Undefined: the request has to be looked up. */
export type NearReply = (
  target: Target,
  request: RequestHead,
  detail?: string,
) => Plan | Promise<Plan> | undefined

const MAX_REMEMBERED = 10_000

/** How requests were answered from the near cache, by what they looked like when they arrived. */
export class ListenerAnswers {
  readonly #known = new BoundedMap<{ target: Target; reply: NearReply }>(MAX_REMEMBERED)

  /** Remembers a near hit: only the request's head decided about it. */
  remember(listenerKey: string, target: Target, reply: NearReply): void {
    this.#known.set(listenerKey, { target, reply })
  }

  /** Answers a request that looks the same. Undefined: the application must get it. */
  answer(listenerKey: string, request: RequestHead): Plan | Promise<Plan> | undefined {
    const known = this.#known.get(listenerKey)
    if (known === undefined || demandReason(request) !== undefined) return undefined
    return known.reply(known.target, request, '; detail=listener')
  }
}
