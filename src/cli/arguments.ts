/** Reads a command line by the table of commands. */
import { parseArgs } from 'node:util'
import { closestMatch } from '../validate.ts'
import { CommandError, type Command, type CommandOption } from '../commands/command.ts'

/** Options that every command has. */
export const GENERAL_OPTIONS: Readonly<Record<string, CommandOption>> = {
  json: { type: 'boolean', help: 'Print one JSON document.' },
  help: { type: 'boolean', help: 'Explain the command.' },
}

/** Options that say where Redis is. */
export const TARGET_OPTIONS: Readonly<Record<string, CommandOption>> = {
  redis: {
    type: 'string',
    value: 'URL',
    help: 'Where Redis is. Default: TURNPIKE_REDIS_URL, then REDIS_URL. A password in a command line can be seen by other users of the machine: prefer the variables.',
  },
  app: {
    type: 'string',
    value: 'FILE',
    help: 'A module that exports the instance as `tp`. Its Redis, prefix and stores are used.',
  },
  prefix: { type: 'string', value: 'NAME', help: 'Prefix of the keys. Default: tp.' },
  'key-version': {
    type: 'string',
    value: 'VERSION',
    help: 'The option `version` of the application, if it has one.',
  },
  layout: {
    type: 'string',
    value: 'LAYOUT',
    help: "The option `layout` of the application: 'prefix' (default) or 'databases'.",
  },
  master: {
    type: 'string',
    value: 'NAME',
    help: 'Name of the master, if the URL leads to a Sentinel that watches several.',
  },
  tenant: { type: 'string', value: 'TENANT', help: 'Whose data, if the application has tenants.' },
}

/** Options of commands that change something. */
export const WRITE_OPTIONS: Readonly<Record<string, CommandOption>> = {
  yes: { type: 'boolean', help: 'Do it without asking.' },
  'dry-run': { type: 'boolean', help: 'Show what would be done, and change nothing.' },
  reason: {
    type: 'string',
    value: 'TEXT',
    help: 'Why. Stands in the audit. Required for rules, modes and policies.',
  },
  as: { type: 'string', value: 'NAME', help: 'Who does it. Default: the user of the machine.' },
}

/** Returns all options of a command, the most special first. */
export const optionsOf = ({ options, redis }: Command): Record<string, CommandOption> => ({
  ...options,
  ...(redis === 'write' && WRITE_OPTIONS),
  ...(redis !== 'none' && TARGET_OPTIONS),
  ...GENERAL_OPTIONS,
})

/** A command line that was understood. */
export interface ParsedCommand {
  readonly command: Command
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | undefined>>
}

/**
 * Finds the command that a line begins with. Options may stand before it.
 * @throws CommandError for a name that no command has
 */
export function findCommand(
  commands: readonly Command[],
  argv: readonly string[],
): { command: Command; rest: readonly string[] } {
  const first = argv[0] ?? ''
  const words = argv.slice(0, 2).join(' ')
  const exact = commands.find(({ name }) => name === words)
  if (exact?.name.includes(' ')) return { command: exact, rest: argv.slice(2) }
  const command = commands.find(({ name }) => name === first)
  if (command) return { command, rest: argv.slice(1) }
  const names = commands.map(({ name }) => name)
  const group = names.filter((name) => name.startsWith(`${first} `))
  if (group.length > 0) {
    const second = argv[1]
    const near = second === undefined ? undefined : closestMatch(words, group)
    const hint = near === undefined ? `There is: ${group.join(', ')}.` : `Did you mean ${near}?`
    throw new CommandError('usage', `turnpike ${first} needs another word. ${hint}`)
  }
  const near = closestMatch(first, [...new Set(names.map((name) => name.split(' ', 1)[0]!))])
  const hint = near === undefined ? 'turnpike help lists the commands.' : `Did you mean ${near}?`
  throw new CommandError('usage', `There is no command ${first}. ${hint}`)
}

/**
 * Reads the options and arguments of a command.
 * @param commands all commands, for the one that may be meant
 * @throws CommandError
 */
export function parseCommand(
  command: Command,
  rest: readonly string[],
  commands: readonly Command[] = [],
): ParsedCommand {
  const known = optionsOf(command)
  const options = Object.fromEntries(
    Object.entries(known).map(([name, { type }]) => [name, { type }]),
  )
  const where = `turnpike ${command.name}`
  for (const name of optionNames(rest)) {
    if (Object.hasOwn(known, name)) continue
    const near = closestMatch(name, Object.keys(known))
    const hint = near === undefined ? `${where} --help lists them.` : `Did you mean --${near}?`
    throw new CommandError('usage', `${where} has no option --${name}. ${hint}`)
  }
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({ args: [...rest], options, allowPositionals: true, strict: true })
  } catch (error) {
    // Node explains over several lines what to do about a value that begins with a dash.
    const [sentence] = (error as Error).message.split('\n', 1)
    throw new CommandError('usage', `${where}: ${sentence!.replace(/\.?$/, '.')}`)
  }
  const { positionals, values } = parsed
  const [least, most] = command.takes
  if (values['help'] !== true && (positionals.length < least || positionals.length > most))
    throw new CommandError(
      'usage',
      wrongCount(command, positionals.length) +
        (positionals.length > most ? otherWords(commands, command, positionals[0]!) : ''),
    )
  return {
    command,
    args: positionals,
    options: values as Record<string, string | boolean | undefined>,
  }
}

/** Returns the names of the long options in a line. */
const optionNames = (rest: readonly string[]): string[] => {
  const end = rest.indexOf('--')
  return rest
    .slice(0, end < 0 ? undefined : end)
    .flatMap((word) => /^--([^=]+)/.exec(word)?.[1] ?? [])
}

function wrongCount({ name, usage, takes: [least, most] }: Command, given: number): string {
  const range = least === most ? `${least}` : `${least} to ${most}`
  const plural = most === 1 ? 'argument' : 'arguments'
  const wanted =
    most === 0 ? 'no argument' : `${most === Infinity ? `at least ${least}` : range} ${plural}`
  const shown = usage === '' ? `turnpike ${name}` : `turnpike ${name} ${usage}`
  return `turnpike ${name} takes ${wanted}, and ${given} ${given === 1 ? 'was' : 'were'} given: ${shown}`
}

/** Returns a sentence about the commands that have another word after the first one, '' if there are none. */
function otherWords(commands: readonly Command[], { name }: Command, word: string): string {
  const group = commands.map((each) => each.name).filter((each) => each.startsWith(`${name} `))
  if (group.length === 0) return ''
  const near = closestMatch(`${name} ${word}`, group)
  return near === undefined ? `. There is also: ${group.join(', ')}.` : `. Did you mean ${near}?`
}
