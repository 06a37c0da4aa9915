/** The table of commands: help, completion, permissions and docs/cli.md come from it. */
import { createAcl } from './acl.ts'
import { audit } from './audit.ts'
import { cachePurge, cacheClear } from './cache-purge.ts'
import { cacheLs, cacheShow, cacheStats } from './cache.ts'
import type { Command } from './command.ts'
import { createCompletion } from './completion.ts'
import { doctor } from './doctor.ts'
import { explain } from './explain.ts'
import { idempotencyFind, idempotencyShow } from './idempotency.ts'
import { idempotencyRelease } from './idempotency-release.ts'
import { keys } from './keys.ts'
import { limits, limitsShow } from './limits.ts'
import { limitsBlock } from './limits-block.ts'
import { limitsReset } from './limits-reset.ts'
import { locksBreak } from './locks-break.ts'
import { locks } from './locks.ts'
import { maintenanceOff, maintenanceOn } from './maintenance.ts'
import { mode } from './mode.ts'
import { processes, status, top } from './processes.ts'
import { allow, block, rules, unblock } from './rules.ts'
import { sessionsRevoke, sessionsRevokeAll } from './sessions-end.ts'
import { sessions } from './sessions.ts'

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
  limitsShow,
  locks,
  locksBreak,
  maintenanceOff,
  maintenanceOn,
  mode,
  processes,
  rules,
  sessions,
  sessionsRevoke,
  sessionsRevokeAll,
  status,
  top,
  unblock,
]
