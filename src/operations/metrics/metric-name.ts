/** Names of all metrics, and what is said of each. */

/** A family of metrics. */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  /** What a person on call does about it. */
  readonly remedy?: string
}

/** Name of a metric without the prefix `turnpike_`. */
export type MetricName =
  | 'limit_decisions_total'
  | 'limit_refusals_total'
  | 'session_loads_total'
  | 'session_saves_total'
  | 'session_events_total'
  | 'cache_requests_total'
  | 'cache_fills_total'
  | 'cache_not_stored_total'
  | 'cache_make_seconds'
  | 'cache_invalidations_total'
  | 'near_bytes'
  | 'near_entries'
  | 'near_evictions_total'
  | 'data_requests_total'
  | 'idempotency_total'
  | 'lease_total'
  | 'lease_held'
  | 'lease_wait_seconds'
  | 'job_events_total'
  | 'job_seconds'
  | 'job_backlog'
  | 'job_oldest_seconds'
  | 'lease_hold_seconds'
  | 'store_operation_seconds'
  | 'store_failures_total'
  | 'store_in_flight'
  | 'request_store_wait_seconds'
  | 'unavailable_total'
  | 'connections_replaced_total'
  | 'bans_total'
  | 'rules'
  | 'control_version'
  | 'maintenance'
  | 'mount_mode'
  | 'store_up'
  | 'store_breaker_open'
  | 'clock_skew_seconds'
  | 'service_up'
  | 'build_info'
  | 'server_memory_bytes'
  | 'server_memory_limit_bytes'
  | 'server_hits_total'
  | 'server_misses_total'
  | 'server_evictions_total'
  | 'server_clients'
