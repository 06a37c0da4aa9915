/** Waits until the processes of an application confirm a change. */
import type { CommandCall, CommandOption, ExitName } from './command.ts'
import type { RedisTarget } from './target.ts'

/** Options of commands that wait. */
export const CONFIRM_OPTIONS: Readonly<Record<string, CommandOption>> = {
  'no-wait': { type: 'boolean', help: 'Do not wait until the processes confirm.' },
}

/** What the processes confirmed. */
interface Confirmation {
  readonly data: { readonly confirmed?: number; readonly processes?: number }
  /** Continues the line about the change. */
  readonly line: string
  readonly exit?: ExitName
}

/**
 * Waits up to 15 seconds until all processes that report hold a version of the rules.
 * @param version default: the one that this program has made last
 */
export async function confirmationOf(
  call: CommandCall,
  target: RedisTarget,
  version?: string,
): Promise<Confirmation> {
  if (call.options['no-wait'] === true) return { data: {}, line: '' }
  const settlement = await target.instance().control.settled(version)
  const { confirmed, missing, ms, processes } = settlement
  const data = { confirmed, processes, missing }
  if (processes === 0) return { data, line: ' No process reports, so none confirms it.' }
  const after = `after ${(ms / 1000).toFixed(1)} s`
  if (missing.length === 0)
    return { data, line: ` In force in ${confirmed} of ${processes} processes ${after}.` }
  const line = ` In force in ${confirmed} of ${processes} processes ${after}. Not confirmed by: ${missing.slice(0, 10).join(', ')}.`
  return { data, line, exit: 'incomplete' }
}
