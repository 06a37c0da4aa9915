/** The commands of the program `turnpike`. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { closestMatch } from '../validate.ts'
import { USAGE_ERROR, type Command, type CommandOutput } from './command.ts'
import { explain } from './explain.ts'

const COMMANDS: Readonly<Record<string, Command>> = { explain }

/** Runs a command line, without the program's name. Returns the exit code. */
export async function runCommandLine(
  [name = 'help', ...args]: readonly string[],
  output: CommandOutput,
): Promise<number> {
  if (name === '--version' || name === '-v') {
    output.print(readVersion())
    return 0
  }
  if (name === 'help' || name === '--help' || name === '-h' || args.includes('--help')) {
    output.print(helpText())
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command !== undefined) return command.run(args, output)
  const near = closestMatch(name, Object.keys(COMMANDS))
  const hint = near === undefined ? 'turnpike help lists the commands.' : `Did you mean ${near}?`
  output.complain(`There is no command ${name}. ${hint}`)
  return USAGE_ERROR
}

function helpText(): string {
  const lines = Object.entries(COMMANDS).map(([name, { usage, summary }]) => [
    `turnpike ${name} ${usage}`,
    summary,
  ])
  const width = Math.max(...lines.map(([call]) => call!.length))
  return lines.map(([call, summary]) => `${call!.padEnd(width)}  ${summary}`).join('\n')
}

function readVersion(): string {
  const file = createRequire(import.meta.url).resolve('turnpike/package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
