/** RateLimit header fields: draft-ietf-httpapi-ratelimit-headers-11, as RFC 9651 structured fields. */
import { createHmac } from 'node:crypto'
import { serializeByteSequence, serializeString } from 'structured-headers'
import type { HeaderFields } from '../../http/exchange.ts'
import type { Decision, PolicyState } from './decision.ts'

export interface FieldOptions {
  /** Send `RateLimit` and `RateLimit-Policy`. */
  standard: boolean
  /** Send `X-RateLimit-*`. */
  legacy: boolean
  /** The secret of the partition key, if one is sent. */
  partitionKey: string | undefined
}

/** Whole seconds that are never earlier than the truth. */
export const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** Writes a decision into header fields; what is the same for every request is kept. */
export function fieldWriter({
  standard,
  legacy,
  partitionKey,
}: FieldOptions): (decision: Decision, now: number) => HeaderFields {
  const names = new Map<string, string>()
  /** The last item of each policy: most have one for ever. */
  const items = new Map<string, { limit: number; windowMs: number; text: string }>()

  const quoted = (name: string): string => {
    let text = names.get(name)
    if (text === undefined) names.set(name, (text = serializeString(name)))
    return text
  }
  const policyItem = ({ name, limit, windowMs }: PolicyState): string => {
    const last = items.get(name)
    if (last && last.limit === limit && last.windowMs === windowMs) return last.text
    const text = `${quoted(name)};q=${limit}${windowMs > 0 ? `;w=${seconds(windowMs)}` : ''}`
    items.set(name, { limit, windowMs, text })
    return text
  }
  // Where nothing is counted, or a count never ends, there is no time within which `r` is all there is.
  const limitItem = ({ name, remaining, resetMs }: PolicyState): string =>
    `${quoted(name)};r=${remaining}${resetMs > 0 ? `;t=${seconds(resetMs)}` : ''}`

  return (decision, now) => {
    const { policies: states, tightest } = decision
    const headers: Record<string, string> = {}
    if (!tightest) return headers
    if (standard) {
      let policy = ''
      let limit = ''
      for (const state of states) {
        const pk = partitionKey === undefined ? '' : `;pk=${keyOf(partitionKey, state.subject)}`
        const comma = policy && ', '
        policy += comma + policyItem(state) + pk
        limit += comma + limitItem(state) + pk
      }
      headers['RateLimit-Policy'] = policy
      headers['RateLimit'] = limit
    }
    if (legacy) {
      headers['X-RateLimit-Limit'] = String(tightest.limit)
      headers['X-RateLimit-Remaining'] = String(tightest.remaining)
      if (tightest.resetMs > 0)
        headers['X-RateLimit-Reset'] = String(seconds(now + tightest.resetMs))
    }
    return headers
  }
}

/** A bare hash of an address is as good as the address; an HMAC is not. */
function keyOf(secret: string, subject: string): string {
  return serializeByteSequence(createHmac('sha256', secret).update(subject).digest())
}
