/** The table of commands: help, completion, permissions and docs/cli.md come from it. */
import { createAcl } from './acl.ts'
import type { Command } from './command.ts'
import { createCompletion } from './completion.ts'
import { doctor } from './doctor.ts'
import { explain } from './explain.ts'

export const COMMANDS: readonly Command[] = [
  createAcl(() => COMMANDS),
  createCompletion(() => COMMANDS),
  doctor,
  explain,
]
