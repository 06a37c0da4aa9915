import type { CounterRow } from '../../feature-counts.ts'
import type { EventBus } from '../../events.ts'
import type { Decision } from './decision.ts'
import type { RateLimitEngineOptions } from './engine-options.ts'

/**
 * Counts and emits a decision.
 * @param shadow true if it refuses a request that passes
 * @param began when a store was asked for it, by `performance.now()`
 */
export function reportDecision(
  events: EventBus,
  counts: CounterRow,
  options: RateLimitEngineOptions,
  decision: Decision,
  shadow: boolean,
  began: number | undefined,
): void {
  counts.countDecision(decision.allowed, shadow, decision.source)
  if (!decision.allowed) noteRefused(events, options, decision)
  if (!events.hasListeners('decision')) return
  const { allowed, source, subject, tenant, tightest, limit, remaining, retryAfterMs } = decision
  const { feature, name } = options
  const policy = tightest?.name
  const ms = events.since(began)
  events.emit('decision', {
    feature,
    name,
    allowed,
    shadow,
    source,
    policy,
    limit,
    remaining,
    retryAfterMs,
    subject,
    tenant,
    ms,
  })
}

function noteRefused(
  { counts }: EventBus,
  { name: limit }: RateLimitEngineOptions,
  { tenant, tightest }: Decision,
): void {
  if (tightest === undefined) return
  const { name: policy, subject } = tightest
  counts.row('refusal', `${limit}\n${policy}`).count('refused')
  counts.onRefused?.({ limit, policy, subject, tenant })
}
