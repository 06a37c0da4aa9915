/** Runs a command line of the program `turnpike`. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { toCommandError } from '../commands/command-error.ts'
import { findCommand, parseCommand, type ParsedCommand } from './arguments.ts'
import {
  EXIT,
  type CommandCall,
  type CommandOutput,
  type CommandResult,
} from '../commands/command.ts'
import { COMMANDS } from './commands.ts'
import { confirmPlan } from './confirm.ts'
import { explainCommand, listCommands } from './help.ts'
import { escapeControls, formatDocument, formatLine } from '../commands/output.ts'
import { openTarget } from './open-target.ts'
import type { RedisTarget } from '../commands/target.ts'

/** Version of the documents that `--json` prints. It changes when a member changes its meaning. */
const DOCUMENT_VERSION = 1

/** Runs a command line, without the program's name. Returns the exit code. */
export async function runCommandLine(
  argv: readonly string[],
  output: CommandOutput,
): Promise<number> {
  const [first = 'help'] = argv
  if (first === '--version' || first === '-v') {
    output.print(readVersion())
    return EXIT.done
  }
  if (first === '--help' || first === '-h' || (first === 'help' && argv.length <= 1)) {
    output.print(listCommands(COMMANDS))
    return EXIT.done
  }
  const isJson = argv.includes('--json')
  const warnings: string[] = []
  let name = first
  try {
    const words = first === 'help' ? [...argv.slice(1), '--help'] : argv
    const { command, rest } = findCommand(COMMANDS, words)
    name = command.name
    const parsed = parseCommand(command, rest, COMMANDS)
    if (parsed.options['help'] === true) {
      output.print(explainCommand(command))
      return EXIT.done
    }
    const result = await runCommand(parsed, output, warnings, isJson)
    const { data, lines, exit = 'done' } = result
    if (isJson)
      output.print(formatDocument({ version: DOCUMENT_VERSION, command: name, data, warnings }))
    else for (const line of lines) output.print(formatLine(line, output.hasColors ?? false))
    return EXIT[exit]
  } catch (error) {
    const known = toCommandError(error)
    if (known === undefined) throw error
    if (isJson) {
      const document = { code: known.exit, message: known.message }
      output.print(
        formatDocument({ version: DOCUMENT_VERSION, command: name, error: document, warnings }),
      )
    }
    output.complain(escapeControls(known.message))
    return EXIT[known.exit]
  }
}

async function runCommand(
  { command, args, options }: ParsedCommand,
  output: CommandOutput,
  warnings: string[],
  isJson: boolean,
): Promise<CommandResult> {
  const env = output.env ?? process.env
  let target: Promise<RedisTarget> | undefined
  const call: CommandCall = {
    args,
    options,
    env,
    now: output.now ?? Date.now,
    warn(message) {
      warnings.push(message)
      if (!isJson) output.complain(escapeControls(message))
    },
    target: () => (target ??= openTarget(options, env)),
    confirm: (plan) => confirmPlan(plan, options, output),
  }
  try {
    return await command.run(call)
  } finally {
    await (await target?.catch(() => undefined))?.close()
  }
}

function readVersion(): string {
  const file = createRequire(import.meta.url).resolve('turnpike/package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
