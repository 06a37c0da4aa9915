/** Changes data: shows the plan, asks, changes, and notes who has done it. */
import { hostname, userInfo } from 'node:os'
import { parseDuration } from '../duration.ts'
import { appendAudit } from '../operations/audit.ts'
import { CONTEXT } from '../extension.ts'
import {
  CommandError,
  type Command,
  type CommandCall,
  type CommandResult,
  type ExitName,
  type WritePlan,
} from './command.ts'
import type { RedisTarget } from './target.ts'

/** Who makes a change, and why. */
export interface ChangeAuthor {
  readonly by: string
  readonly reason: string | undefined
}

/** A change that a command wants to make. */
export interface Change extends WritePlan {
  /** What is changed, as the audit names it. */
  readonly subject: string
  /** Makes the change. Returns what came of it: as data, and as one line. */
  make(
    author: ChangeAuthor,
  ): Promise<{ readonly data: object; readonly line: string; readonly exit?: ExitName }>
  /** True if what makes the change writes the entry of the audit as well. */
  readonly notesItself?: boolean
}

/** Asks, makes a change and notes it. */
export async function makeChange(
  call: CommandCall,
  { name }: Pick<Command, 'name'>,
  target: RedisTarget,
  { lines, make, notesItself = false, state = lines, subject, typed }: Change,
): Promise<CommandResult> {
  const by = personOf(call)
  const reason = textOption(call, 'reason')
  const isConfirmed = await call.confirm({ lines, state, ...(typed !== undefined && { typed }) })
  if (!isConfirmed)
    return { data: { changed: false, plan: lines }, lines: ['Nothing was changed (--dry-run).'] }
  // The instance goes where this connection has led to.
  await target.access('operations')
  const tp = target.instance()
  await tp.ready('5s')
  const { data, line, exit = 'done' } = await make({ by, reason })
  if (notesItself) return { data: { changed: true, ...data }, lines: [line], exit }
  const { keys, store } = tp[CONTEXT]('operations')
  try {
    await appendAudit(store, keys, { action: name, by, reason, subject })
  } catch (error) {
    call.warn(
      `The change was made, but could not be noted in the audit: ${(error as Error).message}`,
    )
  }
  return { data: { changed: true, ...data }, lines: [line] }
}

/** Returns the answer of a command that found nothing to change. */
export const nothingToChange = (line: string): CommandResult => ({
  data: { changed: false },
  lines: [line],
  exit: 'finding',
})

/** Returns the duration of an option. @throws CommandError */
export function durationOf(
  { options }: CommandCall,
  name: string,
  most: number,
): number | undefined {
  const given = options[name] as string | undefined
  if (given === undefined) return undefined
  const ms = parseDuration(given)
  if (ms !== undefined && ms >= 1 && ms <= most) return ms
  throw new CommandError(
    'usage',
    `--${name} must be a duration like 30m, 1h or 7d. It is '${given}'.`,
  )
}

/** Requires a reason, for changes that every process heeds. @throws CommandError */
export function requireReason({ options }: CommandCall): void {
  const reason = options['reason'] as string | undefined
  if (reason === undefined || reason.trim() === '' || reason.length > 200)
    throw new CommandError('usage', 'Why? Pass --reason with 1 to 200 characters.')
}

/** Returns who makes a change. */
function personOf(call: CommandCall): string {
  const given = textOption(call, 'as')
  if (given !== undefined) return given
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    // A container may have no name for its user.
    return `unknown@${hostname()}`
  }
}

/** Returns a string that an option gives. @throws CommandError for an empty or long one */
export function textOption({ options }: CommandCall, name: string): string | undefined {
  const value = options[name] as string | undefined
  if (value === undefined) return undefined
  if (value.trim() !== '' && value.length <= 500) return value
  throw new CommandError('usage', `--${name} must be a string of 1 to 500 characters.`)
}
