/** RateLimit header fields: draft-ietf-httpapi-ratelimit-headers-11, as RFC 9651 structured fields. */
import { createHmac } from 'node:crypto'
import { serializeByteSequence, serializeString } from 'structured-headers'
import type { HeaderFields } from '../../http/exchange.ts'
import type { Subject } from '../../store/keys.ts'
import type { Decision, PolicyState } from './decision.ts'

/** Which fields are sent. */
export interface HeaderFieldOptions {
  /** Send `RateLimit` and `RateLimit-Policy`. */
  standard: boolean
  /** Send `X-RateLimit-*`. */
  legacy: boolean
  /** Secret of the partition key. Undefined: no partition key is sent. */
  partitionKey: string | undefined
}

/** Returns seconds, rounded up: a retry at that time is not too early. */
export const seconds = (ms: number): number => Math.ceil(ms / 1000)

/** Returns a function that writes a decision into header fields. It keeps what is the same for every request. */
export function createHeaderWriter({
  standard,
  legacy,
  partitionKey,
}: HeaderFieldOptions): (decision: Decision, now: number) => HeaderFields {
  // By policy name, so they are as few as the policies of a mount.
  const names = new Map<string, string>()
  /** The last item of each policy. Most policies have the same one for every request. */
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
  // Without `t` where nothing is counted, or a count never ends.
  const limitItem = ({ name, remaining, resetMs }: PolicyState): string =>
    `${quoted(name)};r=${remaining}${resetMs > 0 ? `;t=${seconds(resetMs)}` : ''}`

  return (decision, now) => {
    const { policies, tightest, tenant } = decision
    const headers: Record<string, string> = {}
    if (!tightest) return headers
    if (standard) {
      let policyField = ''
      let limitField = ''
      for (const policy of policies) {
        if (policy.limit === Infinity) continue
        const pk =
          partitionKey === undefined
            ? ''
            : `;pk=${partitionKeyOf(partitionKey, tenant, policy.subject)}`
        const comma = policyField && ', '
        policyField += comma + policyItem(policy) + pk
        limitField += comma + limitItem(policy) + pk
      }
      if (policyField !== '') {
        headers['RateLimit-Policy'] = policyField
        headers['RateLimit'] = limitField
      }
    }
    if (legacy && tightest.limit < Infinity) {
      headers['X-RateLimit-Limit'] = String(tightest.limit)
      headers['X-RateLimit-Remaining'] = String(tightest.remaining)
      if (tightest.resetMs > 0)
        headers['X-RateLimit-Reset'] = String(seconds(now + tightest.resetMs))
    }
    return headers
  }
}

/** An HMAC, because a bare hash of an address is found by trying all addresses. */
function partitionKeyOf(secret: string, tenant: string | undefined, subject: Subject): string {
  const partition = JSON.stringify([tenant, subject])
  return serializeByteSequence(createHmac('sha256', secret).update(partition).digest())
}
