/**
 * The framework-free root: errors and types. `turnpike()` itself comes from `turnpike/express`,
 * `turnpike/koa` or `turnpike/node`.
 */
export { OptionError } from './check.ts'
export type { Clock, HandClock } from './clock.ts'
export type { Duration } from './duration.ts'
export { isUnavailable, StoreUnavailable, TurnpikeError } from './errors.ts'
export type { ErrorCode, ErrorDetails, UnavailableReason } from './errors.ts'
export type { EventName, Events, Listener } from './events.ts'
export type { Cache, CacheControl, Caching } from './features/cache/index.ts'
export type { CacheStats } from './features/cache/engine.ts'
export type { CacheOptions, InvalidateOptions, QueryOptions } from './features/cache/options.ts'
export type {
  Data,
  FetchOptions,
  NamespaceOptions,
  SetOptions,
  WrapOptions,
} from './features/data/options.ts'
export type { Serializer as DataSerializer } from './features/data/value.ts'
export type { Health, HealthOptions } from './features/health/index.ts'
export type { Decision, PolicyState, Source } from './features/rate-limit/decision.ts'
export type { FlexibleLimiter } from './features/rate-limit/flexible-members.ts'
export type { KeyHelpers } from './features/rate-limit/keys.ts'
export type {
  ConsumeOptions,
  Limiter,
  Subjects,
  WaitingLimiter,
  WaitOptions,
} from './features/rate-limit/limiter.ts'
export type { Limits, LimitsOptions } from './features/rate-limit/limits.ts'
export type { LoginGuard, LoginGuardOptions } from './features/rate-limit/login-guard.ts'
export type {
  Algorithm,
  Fail,
  Key,
  LimiterOptions,
  PolicyOptions,
  RateLimitOptions,
  Refusal,
  Value,
} from './features/rate-limit/options.ts'
export type { SessionControl, UserSession } from './features/session/control.ts'
export { asNodeRedis } from './features/session/index.ts'
export type { SessionEntry } from './features/session/index.ts'
export type { IoredisLike, NodeRedis } from './features/session/node-redis.ts'
export type {
  RequireOptions,
  SessionCookieOptions,
  SessionOptions,
  SessionStorageOptions,
} from './features/session/options.ts'
export type { AnySession, WithSession } from './features/session/types.ts'
export type { Serializer as SessionSerializer } from './features/session/serializer.ts'
export type {
  Idempotency,
  IdempotencyOptions,
  StepContext,
} from './features/idempotency/options.ts'
export type {
  ExclusiveOptions,
  Holding,
  Lock,
  LockOptions,
  Locks,
  Once,
  OnceOptions,
} from './features/lock/options.ts'
export type {
  ConcurrencyOptions,
  Place,
  PlaceOptions,
  Semaphore,
  SemaphoreOptions,
} from './features/semaphore/options.ts'
export type { TenantKit, Turnpike, TurnpikeOptions } from './turnpike.ts'
export type { Subject } from './store/keys.ts'
export type { RedisSource } from './store/redis.ts'
export type { Store, StoreStatus } from './store/store.ts'
export type { Area } from './store/stores.ts'
