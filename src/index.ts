/**
 * The root of the package, without a framework: errors and types. `turnpike()` itself comes from
 * `turnpike/express`, `turnpike/koa` or `turnpike/node`.
 */
import { TurnpikeError } from './errors.ts'

/** The only argument that the root's `turnpike()` accepts, so that a compiler's message shows it. */
type WrongEntry =
  "Import turnpike from 'turnpike/express', 'turnpike/koa' or 'turnpike/node', not from 'turnpike'."

/**
 * Always throws: the root of the package has no framework.
 * @deprecated Import it from the entry of your framework: `turnpike/express`, `turnpike/koa` or
 * `turnpike/node`.
 * @throws TP_OPTION
 */
export const turnpike: {
  (importFromTheEntryOfYourFramework: WrongEntry): never
  /** Always throws, as `turnpike()` of this entry does. */
  fromEnv(importFromTheEntryOfYourFramework: WrongEntry): never
} = Object.assign(refuseRoot, { fromEnv: refuseRoot })

function refuseRoot(): never {
  throw new TurnpikeError(
    'TP_OPTION',
    "turnpike(): the root of the package has no framework. Import turnpike from 'turnpike/express', 'turnpike/koa' or 'turnpike/node'.",
  )
}

export { OptionError } from './validate.ts'
export type { UserId } from './user-id.ts'
export type { Clock, ManualClock } from './clock.ts'
export type { Duration } from './duration.ts'
export { isUnavailable, StoreUnavailable, TurnpikeError } from './errors.ts'
export type { ErrorCode, ErrorDetails, UnavailableReason } from './errors.ts'
export type { EventName, EventMap, TurnpikeListener } from './events.ts'
export type { Tag } from './caching/tags.ts'
export type { WarmOptions } from './caching/warming.ts'
export type { ResponseCache, Caching } from './features/cache/index.ts'
export type { CacheControl, CacheTenantOption, CacheWarmOptions } from './features/cache/control.ts'
export type { CacheStats } from './features/cache/engine.ts'
export type { CacheOptions, InvalidateOptions, QueryOptions } from './features/cache/options.ts'
export type {
  DataCache,
  FetchOptions,
  NamespaceOptions,
  SetOptions,
  WarmEntry,
  WrapOptions,
} from './features/data/options.ts'
export type { DataSerializer } from './features/data/value.ts'
export type { HealthCheck, HealthChecks } from './features/health/checks.ts'
export type { HealthReport, HealthOptions } from './features/health/index.ts'
export type { HealthService } from './features/health/services.ts'
export type { Decision, PolicyState, DecisionSource } from './features/rate-limit/decision.ts'
export type { FlexibleLimiter } from './features/rate-limit/flexible/flexible-members.ts'
export type { BodySizeOptions, CostHelpers } from './features/rate-limit/cost-helpers.ts'
export type { KeyHelpers } from './features/rate-limit/key-helpers.ts'
export type {
  ConsumeOptions,
  Limiter,
  Subjects,
  WaitingLimiter,
  LimiterWaitOptions,
} from './features/rate-limit/limiter-options.ts'
export type { LimitOverrides, OverrideOptions } from './features/rate-limit/limit-overrides.ts'
export type { LoginGuard, LoginGuardOptions } from './features/rate-limit/login-guard-options.ts'
export type { RateLimitAlgorithm } from './features/rate-limit/algorithms/index.ts'
export type {
  FailureRule,
  KeyFunction,
  LimiterOptions,
  LimitRefusal,
  PolicyOptions,
  RateLimitOptions,
  ValueOrFunction,
} from './features/rate-limit/options.ts'
export type { SessionControl, UserSession } from './features/session/session-control.ts'
export { asNodeRedis } from './features/session/index.ts'
export type { SessionEntry } from './features/session/index.ts'
export type { IoredisLike, NodeRedis } from './features/session/node-redis.ts'
export type {
  RequireOptions,
  SessionCookieOptions,
  SessionOptions,
  SessionStorageOptions,
} from './features/session/options.ts'
export type {
  KoaSessionData,
  KoaSessionMembers,
  KoaSessionProperties,
  RequestSessionData,
  SessionCookieProperties,
  SessionMembers,
  SessionProperties,
  SessionStoreApi,
} from './features/session/types.ts'
export type { SessionSerializer } from './features/session/serializer.ts'
export type {
  Idempotency,
  IdempotencyOptions,
  IdempotencyRefusal,
  StepContext,
} from './features/idempotency/options.ts'
export type {
  AllLocksFunction,
  ExclusiveOptions,
  HeldLock,
  HeldLocks,
  LockFunction,
  LockHolding,
  LockOptions,
  LocksHolding,
  OnceOptions,
  OnceResult,
} from './features/lock/options.ts'
export type {
  ConcurrencyOptions,
  Permit,
  PermitOptions,
  Semaphore,
  SemaphoreOptions,
} from './features/semaphore/options.ts'
export type { LimitMode, RuleEffect } from './control/active-rules.ts'
export type { AuditEntry } from './operations/audit.ts'
export type {
  AccessRule,
  BanOptions,
  Control,
  ControlChange,
  GateOptions,
  ModeOptions,
  ModeRule,
  PolicyRule,
  PolicyValues,
  RuleClient,
  Settlement,
  SubjectClient,
} from './operations/control/options.ts'
export type { ControlChangeOptions, RuleOptions } from './operations/control/change-options.ts'
export type {
  MaintenanceControl,
  MaintenanceReport,
  MaintenanceSettings,
} from './operations/control/maintenance-options.ts'
export type { DashboardOptions, DashboardUser } from './operations/dashboard.ts'
export type { CurrentAlert } from './operations/alerts/alert-checks.ts'
export type { Alerts } from './operations/alerts/index.ts'
export type { Alert, AlertRule, AlertsOptions } from './operations/alerts/options.ts'
export type { Metrics, MetricsOptions } from './operations/metrics.ts'
export type { MetricRegistry } from './operations/metrics/receivers.ts'
export type {
  HistogramSample,
  MetricFamily,
  MetricLabels,
  MetricSample,
} from './operations/metrics/snapshot.ts'
export type { OperationsOptions } from './operations/options.ts'
export type { ProcessReport } from './operations/processes.ts'
export type { SystemMetrics } from './operations/system-metrics.ts'
export type { Service } from './operations/services/index.ts'
export type {
  ServiceCheckResult,
  ServiceOptions,
  ServiceReport,
  ServiceState,
  ServiceStatus,
} from './operations/services/options.ts'
export type { TenantScope, Turnpike, TurnpikeOptions } from './turnpike.ts'
export type { Refusal, RefusalReply, ReplyFunction } from './http/refusal.ts'
export type { Subject } from './store/keys.ts'
export type { RedisSource } from './store/redis.ts'
export type { Logger } from './availability-log.ts'
export type { Store, StoreStatus } from './store/store.ts'
export type { Area } from './store/areas.ts'
