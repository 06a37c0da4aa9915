/** Asks before something is changed. */
import { CommandError, type CommandOutput, type WritePlan } from '../commands/command.ts'
import { escapeControls } from '../commands/output.ts'

/**
 * Shows a plan and asks whether to go on. Returns false for `--dry-run`.
 * @param complain prints on the standard error: the answer belongs to the standard output
 * @throws CommandError without a yes. Nothing may have been changed before.
 */
export async function confirmPlan(
  { lines, typed }: WritePlan,
  options: Readonly<Record<string, string | boolean | undefined>>,
  { ask, complain }: CommandOutput,
): Promise<boolean> {
  for (const line of lines) complain(escapeControls(line))
  if (options['dry-run'] === true) return false
  if (options['yes'] === true) return true
  if (ask === undefined)
    throw new CommandError(
      'confirmation',
      'Nothing was changed: there is no terminal to ask on. Pass --yes to do it, or --dry-run to see it.',
    )
  const wanted = typed ?? 'yes'
  const answer = await ask(
    typed === undefined
      ? 'Go on? Type yes: '
      : `This concerns many. Type ${escapeControls(typed)}: `,
  )
  const isYes = answer.trim() === wanted || (typed === undefined && /^y(es)?$/i.test(answer.trim()))
  if (isYes) return true
  throw new CommandError('confirmation', 'Nothing was changed.')
}
