/** Runs command lines in this process. */
import { runCommandLine } from '../../src/cli/run.ts'
import type { CommandOutput } from '../../src/commands/command.ts'
import type { RedisServer } from '../../src/testing.ts'

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line without a terminal, and with no environment but what is given. */
export async function turnpike(
  args: readonly string[],
  given: Partial<Omit<CommandOutput, 'print' | 'complain'>> = {},
): Promise<Ran> {
  const [stdout, stderr]: [string[], string[]] = [[], []]
  const code = await runCommandLine(args, {
    env: {},
    ...given,
    print: (text) => stdout.push(text),
    complain: (text) => stderr.push(text),
  })
  return { code, stdout: stdout.join('\n'), stderr: stderr.join('\n') }
}

/** Runs a command line with `--json`, and returns the document. */
export async function answer(
  args: readonly string[],
  given?: Parameters<typeof turnpike>[1],
): Promise<{ code: number; data: any; error: any; warnings: string[]; version: number }> {
  const { code, stdout } = await turnpike([...args, '--json'], given)
  return { code, ...JSON.parse(stdout) }
}

/** Keys that a process which reports writes by itself, at any moment. */
const REPORTS =
  /:operations:(?:processes|process|description|minute|refused|system|services?|service-turn|rules-held):/

/**
 * Returns what Redis stores, but the reports of processes.
 * @param server with `--enable-debug-command`
 */
export async function digestOf(server: RedisServer): Promise<string> {
  const keys = (await server.send('KEYS', '*'))
    .split('\r\n')
    .filter((line) => line.includes(':') && !REPORTS.test(line))
    .toSorted()
  return `${keys.join(' ')} ${await server.send('DEBUG', 'DIGEST-VALUE', ...keys)}`
}
