/** The table of commands: help, completion, permissions and docs/cli.md come from it. */
import { createAcl } from './acl.ts'
import { cacheLs, cacheShow, cacheStats } from './cache.ts'
import type { Command } from './command.ts'
import { createCompletion } from './completion.ts'
import { doctor } from './doctor.ts'
import { explain } from './explain.ts'
import { idempotencyFind, idempotencyShow } from './idempotency.ts'
import { keys } from './keys.ts'
import { limits, limitsShow } from './limits.ts'
import { locks } from './locks.ts'
import { processes, status, top } from './processes.ts'
import { sessions } from './sessions.ts'

export const COMMANDS: readonly Command[] = [
  createAcl(() => COMMANDS),
  cacheLs,
  cacheShow,
  cacheStats,
  createCompletion(() => COMMANDS),
  doctor,
  explain,
  idempotencyFind,
  idempotencyShow,
  keys,
  limits,
  limitsShow,
  locks,
  processes,
  sessions,
  status,
  top,
]
