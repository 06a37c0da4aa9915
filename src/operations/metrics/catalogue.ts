/**
 * All metrics. docs/metrics.md, the dashboard and the alerting rules are generated from this table by
 * `npx vitest run test/operations/metric-files.test.ts --update`. Names and labels come from code, never from a request.
 */
import type { MetricDefinition, MetricName } from './metric-name.ts'

/** The metrics by name, without the prefix `turnpike_`. */
export const METRICS: Readonly<Record<MetricName, MetricDefinition>> = {
  limit_decisions_total: {
    type: 'counter',
    help: 'Decisions of rate limits, limiters and login guards.',
    labels: ['limit', 'outcome', 'source'],
    remedy: 'A source other than store means that Redis was not asked. See unavailable_total.',
  },
  limit_refusals_total: {
    type: 'counter',
    help: 'Refusals by the policy that refused longest.',
    labels: ['limit', 'policy'],
    remedy: 'Find who is refused: docs/operations.md, "One customer floods".',
  },
  session_loads_total: {
    type: 'counter',
    help: 'Loads of sessions. near: this process had a copy. absent: there was none, or it had expired.',
    labels: ['session', 'outcome'],
  },
  session_saves_total: {
    type: 'counter',
    help: 'Writes of sessions. dropped: the session was destroyed or revoked meanwhile.',
    labels: ['session', 'outcome'],
  },
  session_events_total: {
    type: 'counter',
    help: 'Logins, logouts, and sessions that could not be stored or read as they were.',
    labels: ['session', 'type'],
  },
  cache_requests_total: {
    type: 'counter',
    help: 'Requests of the response cache by outcome.',
    labels: ['cache', 'outcome'],
  },
  cache_fills_total: {
    type: 'counter',
    help: 'Responses that handlers made for a cache.',
    labels: ['cache', 'outcome'],
  },
  cache_not_stored_total: {
    type: 'counter',
    help: 'Responses that were not stored, by reason: see docs/cache.md.',
    labels: ['cache', 'why'],
    remedy: 'docs/cache.md has a section on each reason.',
  },
  cache_make_seconds: {
    type: 'histogram',
    help: 'How long handlers took to make a response for a cache.',
    labels: ['cache'],
  },
  cache_invalidations_total: {
    type: 'counter',
    help: 'Invalidations of tags (hard, soft) and of patterns (glob), by cache and data.',
    labels: ['mode', 'outcome'],
    remedy:
      'failed means that Redis did not take it yet. Until it does, this process does not serve what is invalidated, but others may.',
  },
  near_bytes: {
    type: 'gauge',
    help: 'Size of the near cache of this process, shared by cache and data.',
    labels: [],
  },
  near_entries: {
    type: 'gauge',
    help: 'Entries in the near cache of this process.',
    labels: [],
  },
  near_evictions_total: {
    type: 'counter',
    help: 'Entries that were dropped to make room in the near cache.',
    labels: [],
    remedy: 'If it grows as fast as requests, give `near` a higher `maxBytes`.',
  },
  data_requests_total: {
    type: 'counter',
    help: 'Reads of tp.data by outcome.',
    labels: ['namespace', 'outcome'],
  },
  idempotency_total: {
    type: 'counter',
    help: 'Requests with an idempotency key.',
    labels: ['mount', 'type'],
    remedy:
      'unstored means that a response was sent and could not be stored: check the effect by hand.',
  },
  lease_total: {
    type: 'counter',
    help: 'Locks and permits that were acquired, refused or lost.',
    labels: ['feature', 'type'],
    remedy: 'lost means that work may have run twice. Look for an event loop that was blocked.',
  },
  lease_held: {
    type: 'gauge',
    help: 'Locks and permits that this process holds.',
    labels: ['feature'],
  },
  lease_wait_seconds: {
    type: 'histogram',
    help: 'How long callers waited for a lock or permit.',
    labels: ['feature'],
  },
  job_events_total: {
    type: 'counter',
    help: 'Jobs that were added, started, completed, retried, failed for good, or lost by their worker.',
    labels: ['queue', 'task', 'type'],
    remedy: 'failed: look at the dead letters. stalled: workers die, or block their event loop.',
  },
  job_seconds: {
    type: 'histogram',
    help: 'How long attempts at jobs took.',
    labels: ['queue', 'task'],
  },
  job_backlog: {
    type: 'gauge',
    help: 'Jobs that waited when health() of the queue was last called in this process.',
    labels: ['queue'],
    remedy: 'Start more workers. docs/jobs.md, "Watch it".',
  },
  job_oldest_seconds: {
    type: 'gauge',
    help: 'Age of the oldest of them.',
    labels: ['queue'],
    remedy: 'Start more workers. docs/jobs.md, "Watch it".',
  },
  lease_hold_seconds: {
    type: 'histogram',
    help: 'How long locks and permits were held, until they were released or lost.',
    labels: ['feature'],
  },
  store_operation_seconds: {
    type: 'histogram',
    help: 'Duration of calls to Redis that were answered.',
    labels: ['store', 'operation'],
    remedy: 'Compare operations: one that is slow handles large values, all of them a slow server.',
  },
  store_failures_total: {
    type: 'counter',
    help: 'Calls of features that Redis did not answer, by reason.',
    labels: ['reason'],
  },
  store_in_flight: {
    type: 'gauge',
    help: 'Calls that Redis has not answered yet.',
    labels: ['store'],
    remedy: 'From maxInFlight (5,000) on, further calls are refused.',
  },
  request_store_wait_seconds: {
    type: 'histogram',
    help: 'How long requests waited for Redis. Calls that wait at the same time are one wait.',
    labels: [],
    remedy: 'A request may wait for requestBudget (150 ms) in all.',
  },
  unavailable_total: {
    type: 'counter',
    help: 'How often a failure rule was applied.',
    labels: ['feature', 'rule'],
    remedy: 'docs/operations.md, "Redis is away".',
  },
  connections_replaced_total: {
    type: 'counter',
    help: 'Connections that did not reply and were replaced.',
    labels: ['store'],
  },
  bans_total: {
    type: 'counter',
    help: 'Clients that tp.ban() banned. shadow: there were too many bans or rules.',
    labels: ['ban', 'outcome'],
    remedy: 'docs/control.md, "Bans". shadow means an attack, or a match that is too broad.',
  },
  rules: {
    type: 'gauge',
    help: 'Rules, modes and changed policies of tp.control that this process holds.',
    labels: [],
  },
  control_version: {
    type: 'gauge',
    help: 'Number of changes of the rules that this process has received.',
    labels: [],
    remedy: 'A process that stays behind the others cannot reach Redis: docs/control.md.',
  },
  maintenance: {
    type: 'gauge',
    help: '1 while this process refuses requests because of maintenance.',
    labels: ['switch'],
    remedy: 'A maintenance that was forgotten: npx turnpike maintenance off.',
  },
  mount_mode: {
    type: 'gauge',
    help: '1 while an operator has set the mode of a limit.',
    labels: ['limit', 'mode'],
    remedy: 'A mode that was forgotten: npx turnpike rules.',
  },
  store_up: {
    type: 'gauge',
    help: '1 while Redis can be used.',
    labels: [],
    remedy: 'docs/operations.md, "Redis is away".',
  },
  store_breaker_open: {
    type: 'gauge',
    help: '1 while a circuit breaker is not closed.',
    labels: [],
  },
  clock_skew_seconds: {
    type: 'gauge',
    help: 'Clock of this process minus the clock of Redis.',
    labels: [],
  },
  service_up: {
    type: 'gauge',
    help: '0 while a service of tp.service() is in the state error, else 1. Missing if it is not known.',
    labels: ['service'],
    remedy: 'docs/operations.md, "Services".',
  },
  build_info: {
    type: 'gauge',
    help: '1, with the version of Node.',
    labels: ['node'],
  },
  server_memory_bytes: {
    type: 'gauge',
    help: 'Memory that Redis uses. Only with server: true, as all that begin with server_.',
    labels: ['store'],
    remedy: 'docs/operations.md, "Redis\'s memory is full".',
  },
  server_memory_limit_bytes: {
    type: 'gauge',
    help: 'Memory that Redis may use. 0: no limit.',
    labels: ['store'],
  },
  server_hits_total: {
    type: 'counter',
    help: 'Reads of all clients that found their key.',
    labels: ['store'],
  },
  server_misses_total: {
    type: 'counter',
    help: 'Reads of all clients that did not find their key.',
    labels: ['store'],
  },
  server_evictions_total: {
    type: 'counter',
    help: 'Keys that Redis removed because its memory was full.',
    labels: ['store'],
    remedy: 'docs/operations.md, "Redis\'s memory is full".',
  },
  server_clients: {
    type: 'gauge',
    help: 'Connections of all clients.',
    labels: ['store'],
  },
}
