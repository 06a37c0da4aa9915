/** All pages. */
import { cacheView } from './cache-view.ts'
import type { View } from './context.ts'
import { idempotencyView, locksView, sessionsView } from './holding-views.ts'
import { limitsView, rulesView } from './limit-views.ts'
import { overviewView } from './overview-view.ts'
import { auditView, processesView, redisView } from './server-views.ts'

/** All pages, by what stands in their address. */
export const VIEWS: Readonly<Record<string, View>> = {
  overview: overviewView,
  limits: limitsView,
  rules: rulesView,
  cache: cacheView,
  sessions: sessionsView,
  locks: locksView,
  idempotency: idempotencyView,
  processes: processesView,
  redis: redisView,
  audit: auditView,
}
