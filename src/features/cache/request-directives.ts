/** What a client's Cache-Control asks for (RFC 9111, 5.2.1). Only `ttl: 'auto'` obeys it. */
import type { LookupResult } from '../../caching/entry-keys.ts'
import { deadlinesOf } from '../../caching/validity.ts'
import type { Exchange, Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import { secondsOf, type Directives } from './directives.ts'
import { ageOf } from './reply.ts'

/** Returns whether the entry that a lookup found satisfies what the client asks for. */
export function satisfies({ entry, validUntil, now }: LookupResult, asked: Directives): boolean {
  if (asked.has('no-cache')) return false
  const age = ageOf(entry!, now)
  const left = (deadlinesOf(entry!, validUntil!).fresh - now) / 1000
  return (
    age <= (secondsOf(asked.get('max-age')) ?? Infinity) &&
    left >= (secondsOf(asked.get('min-fresh')) ?? 0)
  )
}

/** Returns the plan for `only-if-cached` if no stored response can be used (5.2.1.7). */
export function notCached(x: Exchange): Plan {
  const detail = 'No stored response satisfies the request, and only-if-cached excludes any other.'
  return { reply: problemReply({ title: 'Gateway Timeout', status: 504, detail }, x) }
}
