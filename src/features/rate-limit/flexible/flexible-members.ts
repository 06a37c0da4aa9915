/** What limiters of rate-limiter-flexible look like, and the single ones within one that combines several. */

/** What one of its limiters answers, whether it admits or (rejecting with it) refuses. */
export interface FlexibleResult {
  remainingPoints: number
  /** -1: the window never ends. A string with ioredis's `stringNumbers`. */
  msBeforeNext: number | string
  consumedPoints?: number
}

/** The part of rate-limiter-flexible's interface that is used. Any of its limiters has it, unions and bursty ones too. */
export interface FlexibleLimiter {
  /** Number of points per window. */
  readonly points?: number
  /** In seconds. 0: the window never ends. */
  readonly duration?: number
  /** Prefix of the limiter's keys. turnpike derives the name of the policy from it. */
  readonly keyPrefix?: string
  /** True if the limiter delays requests. turnpike refuses such limiters. */
  readonly execEvenly?: boolean
  /** Takes points. Rejects with a result if there are not enough. */
  consume(key: string, points?: number): Promise<unknown>
  /** Resolves with the state of a key, null if it has none. */
  get?(key: string): Promise<FlexibleResult | null>
  /** Returns points to a key. */
  reward?(key: string, points?: number): Promise<unknown>
  /** Takes points without a decision. */
  penalty?(key: string, points?: number): Promise<unknown>
  /** Deletes the state of a key. */
  delete?(key: string): Promise<boolean>
  /** Refuses a key for `seconds`. */
  block?(key: string, seconds: number): Promise<unknown>
}

/**
 * Limiters that contain others. `limiter` is a wrapper's public property. The members of a union and
 * of a bursty limiter are private fields, so a test watches their names.
 */
export interface CompositeLimiter {
  limiter?: FlexibleLimiter
  _limiters?: FlexibleLimiter[]
  _rateLimiter?: FlexibleLimiter
  _burstLimiter?: FlexibleLimiter
}

/** One policy of a mounted limiter. A union has several. */
export interface FlexibleMember {
  limiter: FlexibleLimiter
  name: string
  points: number | undefined
  seconds: number | undefined
  /** Name of this member's result in a union's answer. */
  prefix: string | undefined
}

/** Returns the limiter inside a wrapper. */
export function unwrapped(limiter: FlexibleLimiter): FlexibleLimiter {
  const { limiter: inner } = limiter as CompositeLimiter
  return inner ? unwrapped(inner) : limiter
}

/**
 * Returns the policies of a limiter.
 * @param ownName name of the policy, if there is only one
 */
export function membersOf(limiter: FlexibleLimiter, ownName: string | undefined): FlexibleMember[] {
  const { _limiters: union, _rateLimiter: rate } = unwrapped(limiter) as CompositeLimiter
  const members: FlexibleMember[] = []
  for (const each of union ?? [rate ?? limiter]) {
    const { points, duration, keyPrefix } = unwrapped(each)
    const prefix = union && each.keyPrefix
    const fromPrefix = (keyPrefix ?? '').replace(/[^\w.-]+/g, '-').slice(0, 40) || 'default'
    const wanted = union ? fromPrefix : (ownName ?? fromPrefix)
    const name = members.some((other) => other.name === wanted)
      ? `${wanted.slice(0, 37)}-${members.length + 1}`
      : wanted
    members.push({ limiter: each, name, points, seconds: duration, prefix })
  }
  return members
}
