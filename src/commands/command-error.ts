/** What errors of Redis and of the library mean to the caller of a command. */
import { TurnpikeError } from '../errors.ts'
import { redact } from '../store/diagnose.ts'
import { ServerUnreachable } from '../store/server-access.ts'
import { CommandError } from './command.ts'

const NOPERM = /^NOPERM .*?(?:run the '([^']+)' command|access (?:one of )?the (key|channel)s?)/i

/** Replies of a server that is there, and does not do what it is asked. */
const CANNOT_NOW = /^(CLUSTERDOWN|LOADING|MASTERDOWN|READONLY|TRYAGAIN|OOM|MISCONF|BUSY)\b/

function cannotNow(reply: string): string {
  const remedy = reply.startsWith('OOM')
    ? ' Raise maxmemory, or free memory: `turnpike keys --tree` shows what takes the space.'
    : ''
  return `Redis cannot do that now: ${reply.replace(/\.$/, '')}.${remedy}`
}

/** Returns an error of Redis or of the library as a command ends with it. */
export function toCommandError(error: unknown): CommandError | undefined {
  if (error instanceof CommandError) return error
  if (error instanceof ServerUnreachable)
    return new CommandError(error.isRefused ? 'permission' : 'unreachable', error.message)
  const { message = '', code } = (error ?? {}) as { message?: string; code?: string }
  const refused = NOPERM.exec(/NOPERM .*/.exec(message)?.[0] ?? '')
  if (refused)
    return new CommandError(
      'permission',
      refused[1] === undefined
        ? `The Redis user may not read these ${refused[2]}s. \`turnpike acl viewer\` and \`turnpike acl operator\` print what is needed.`
        : `The Redis user lacks +${refused[1]}. \`turnpike acl viewer\` and \`turnpike acl operator\` print what is needed.`,
    )
  if (/^(NOAUTH|WRONGPASS)/.test(message)) return new CommandError('permission', message)
  if (CANNOT_NOW.test(message)) return new CommandError('unreachable', cannotNow(message))
  if (/Command timed out|Connection is closed|ECONN|EPIPE|isn't writeable/.test(message))
    return new CommandError('unreachable', `Redis cannot be reached: ${message}`)
  // ioredis attaches the command with its arguments: only the message may be shown.
  if (error instanceof Error && error.name === 'ReplyError')
    return new CommandError('incomplete', `Redis refused a command: ${redact(error)}`)
  const cause = (error as { cause?: Partial<Error> } | null)?.cause?.message ?? ''
  if (code === 'TP_UNAVAILABLE' && CANNOT_NOW.test(cause))
    return new CommandError('unreachable', cannotNow(cause))
  if (error instanceof TurnpikeError || code?.startsWith('TP_'))
    return new CommandError(code === 'TP_UNAVAILABLE' ? 'unreachable' : 'usage', message)
  return undefined
}
