/** Options and results of `subscriptions()`. */
import type { Duration } from '../../../duration.ts'
import type { UserId } from '../../../user-id.ts'

/** Options of `subscriptions()`. */
export interface UserSubscriptionsOptions {
  /** Name of the sets: up to 40 letters, digits, `_`, `.` or `-`. Sets of two names have nothing in common. @default 'topics' */
  name?: string
  /** How long a value is kept after its last `add()`. At most 365 days. @default '90d' */
  ttl?: Duration
  /** Most values of a user, at most 1000. The one that was added longest ago makes room. @default 50 */
  max?: number
}

/** Options of a call. */
export interface UserSubscriptionsCallOptions {
  /** Tenant of the users. Required if the application has tenants. */
  tenant?: string
}

/**
 * A set of strings for each user: topics, push tokens. A value is a string of 1 to 1024 characters.
 * Each call costs one round trip, and rejects with TP_UNAVAILABLE while Redis is away.
 */
export interface UserSubscriptions {
  /**
   * Adds one value or up to 50, or renews them.
   * @returns the number of values that were not there
   * @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE
   */
  add(
    user: UserId,
    values: string | readonly string[],
    options?: UserSubscriptionsCallOptions,
  ): Promise<number>
  /** Removes one value or up to 50. @returns the number of values that were there @throws TP_KEY, TP_VALUE, TP_UNAVAILABLE */
  remove(
    user: UserId,
    values: string | readonly string[],
    options?: UserSubscriptionsCallOptions,
  ): Promise<number>
  /** Returns all values of a user, the latest first. @throws TP_KEY, TP_UNAVAILABLE */
  list(user: UserId, options?: UserSubscriptionsCallOptions): Promise<string[]>
}
