/** What a client asks of a cache (RFC 9111, 5.2.1). */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LookupResult } from '../../caching/entry-keys.ts'
import type { Plan } from '../../http/exchange.ts'
import { problemReply } from '../../http/problem.ts'
import { secondsOf, type Directives } from './directives.ts'
import { deadlines } from './engine.ts'
import { ageOf } from './reply.ts'
import type { Visit } from './visit.ts'

/** Does a stored response suit what the client asks for (RFC 9111, 5.2.1)? Only `ttl: 'auto'` asks. */
export function suits(
  entry: CacheEntry,
  { validUntil, now }: LookupResult,
  wishes: Directives,
): boolean {
  if (wishes.has('no-cache')) return false
  const age = ageOf(entry, now)
  const left = (deadlines(entry, validUntil!).fresh - now) / 1000
  return (
    age <= (secondsOf(wishes.get('max-age')) ?? Infinity) &&
    left >= (secondsOf(wishes.get('min-fresh')) ?? 0)
  )
}

/** RFC 9111, 5.2.1.7. */
export function tooOld<Native>(visit: Visit<Native>): Plan {
  visit.giveBack()
  const detail = 'Nothing is stored that suits the request, and it asks for nothing else.'
  return { reply: problemReply({ title: 'Gateway Timeout', status: 504, detail }, visit.x) }
}
