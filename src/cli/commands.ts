/** The table of commands: help, completion, permissions and docs/cli.md come from it. */
import { createAcl } from './acl.ts'
import { audit } from '../commands/audit.ts'
import { cachePurge, cacheClear } from '../commands/cache-purge.ts'
import { cacheLs, cacheShow, cacheStats } from '../commands/cache.ts'
import type { Command } from '../commands/command.ts'
import { createCompletion } from './completion.ts'
import { doctor } from '../commands/doctor.ts'
import { explain } from './explain.ts'
import { idempotencyFind, idempotencyShow } from '../commands/idempotency.ts'
import { idempotencyRelease } from '../commands/idempotency-release.ts'
import { keys } from '../commands/keys.ts'
import { limits, limitsShow } from '../commands/limits.ts'
import { limitsBlock } from '../commands/limits-block.ts'
import { limitsReset } from '../commands/limits-reset.ts'
import { limitsSet, limitsUnset } from '../commands/limits-set.ts'
import { locksBreak } from '../commands/locks-break.ts'
import { locks } from '../commands/locks.ts'
import { maintenanceOff, maintenanceOn } from '../commands/maintenance.ts'
import { mode } from '../commands/mode.ts'
import { plan } from '../commands/plan.ts'
import { processes, status, top } from '../commands/processes.ts'
import { rulesClear, rulesExport, rulesImport } from '../commands/rules-transfer.ts'
import { allow, block, rules, unblock } from '../commands/rules.ts'
import { sessionsRevoke, sessionsRevokeAll } from '../commands/sessions-end.ts'
import { sessions } from '../commands/sessions.ts'

export const COMMANDS: readonly Command[] = [
  createAcl(() => COMMANDS),
  allow,
  audit,
  block,
  cacheClear,
  cacheLs,
  cachePurge,
  cacheShow,
  cacheStats,
  createCompletion(() => COMMANDS),
  doctor,
  explain,
  idempotencyFind,
  idempotencyRelease,
  idempotencyShow,
  keys,
  limits,
  limitsBlock,
  limitsReset,
  limitsSet,
  limitsShow,
  limitsUnset,
  locks,
  locksBreak,
  maintenanceOff,
  maintenanceOn,
  mode,
  plan,
  processes,
  rules,
  rulesClear,
  rulesExport,
  rulesImport,
  sessions,
  sessionsRevoke,
  sessionsRevokeAll,
  status,
  top,
  unblock,
]
