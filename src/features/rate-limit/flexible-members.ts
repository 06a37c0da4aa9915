/** What rate-limiter-flexible's limiters look like, and the single ones within one that stands for several. */

/** What one of its limiters answers, whether it admits or (rejecting with it) refuses. */
export interface FlexibleResult {
  remainingPoints: number
  /** -1: the window never ends. A text with ioredis's `stringNumbers`. */
  msBeforeNext: number | string
  consumedPoints?: number
}

/** The part of rate-limiter-flexible's interface that is used: any of its limiters will do, its unions and bursty ones too. */
export interface FlexibleLimiter {
  readonly points?: number
  /** Seconds; 0: for ever. */
  readonly duration?: number
  readonly keyPrefix?: string
  readonly execEvenly?: boolean
  consume(key: string, points?: number): Promise<unknown>
  get?(key: string): Promise<FlexibleResult | null>
  reward?(key: string, points?: number): Promise<unknown>
  penalty?(key: string, points?: number): Promise<unknown>
  delete?(key: string): Promise<boolean>
  block?(key: string, seconds: number): Promise<unknown>
}

/**
 * Limiters that stand for others. `limiter` is a wrapper's public property; a union's and a bursty
 * limiter's members are to be had in these fields only, which a test watches.
 */
export interface Composite {
  limiter?: FlexibleLimiter
  _limiters?: FlexibleLimiter[]
  _rateLimiter?: FlexibleLimiter
  _burstLimiter?: FlexibleLimiter
}

/** One policy of a foreign limiter: a union has several. */
export interface Member {
  limiter: FlexibleLimiter
  name: string
  points: number | undefined
  seconds: number | undefined
  /** Where a union's answer has this member's result. */
  prefix: string | undefined
}

/** What a wrapper is around. */
export function behind(limiter: FlexibleLimiter): FlexibleLimiter {
  const { limiter: inner } = limiter as Composite
  return inner ? behind(inner) : limiter
}

/** What it counts by. @param given the name of its policy, if it has one only */
export function membersOf(limiter: FlexibleLimiter, given: string | undefined): Member[] {
  const { _limiters: union, _rateLimiter: rate } = behind(limiter) as Composite
  const members: Member[] = []
  for (const each of union ?? [rate ?? limiter]) {
    const { points, duration, keyPrefix } = behind(each)
    const prefix = union && each.keyPrefix
    const own = (keyPrefix ?? '').replace(/[^\w.-]+/g, '-').slice(0, 40) || 'default'
    const plain = union ? own : (given ?? own)
    const name = members.some((other) => other.name === plain)
      ? `${plain.slice(0, 37)}-${members.length + 1}`
      : plain
    members.push({ limiter: each, name, points, seconds: duration, prefix })
  }
  return members
}
