/** The help texts and docs/cli.md, both from the table of commands. */
import { GENERAL_OPTIONS, optionsOf, TARGET_OPTIONS, WRITE_OPTIONS } from './arguments.ts'
import { EXIT, type Command, type CommandOption, type ExitName } from '../commands/command.ts'

const callOf = ({ name, usage }: Command): string =>
  usage === '' ? `turnpike ${name}` : `turnpike ${name} ${usage}`

const flagOf = (name: string, { value }: CommandOption): string =>
  value === undefined ? `--${name}` : `--${name} ${value}`

/** Returns the list of all commands. */
export function listCommands(commands: readonly Command[]): string {
  const calls = commands.map(callOf)
  const width = Math.max(...calls.map((call) => call.length))
  const lines = commands.map(({ summary }, i) => `${calls[i]!.padEnd(width)}  ${summary}`)
  return [
    ...lines,
    '',
    'turnpike COMMAND --help explains one. --json prints a JSON document.',
    'Redis is found by --redis, TURNPIKE_REDIS_URL, REDIS_URL or --app.',
  ].join('\n')
}

/** Returns the help for one command. */
export function explainCommand(command: Command): string {
  const options = Object.entries(optionsOf(command)).map(
    ([name, option]) => [flagOf(name, option), option.help] as const,
  )
  const width = Math.max(...options.map(([flag]) => flag.length))
  return [
    callOf(command),
    '',
    command.summary,
    ...(command.notes ?? []),
    `${EFFECTS[command.redis]}${neededPermissions(command)}`,
    '',
    'Options:',
    ...options.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`),
    ...(command.examples ? ['', 'Examples:', ...command.examples.map((each) => `  ${each}`)] : []),
  ].join('\n')
}

const EFFECTS: Record<Command['redis'], string> = {
  none: 'Does not connect to Redis.',
  read: 'Only reads, and sends no SCAN.',
  scan: 'Only reads. Sends SCAN, for at most a tenth of the time.',
  write: 'Changes data, and asks before. Needs the permissions of `turnpike acl operator`.',
}

const neededPermissions = ({ permissions = [] }: Command): string =>
  permissions.length === 0
    ? ''
    : ` Needs: ${permissions.map((command) => `+${command}`).join(' ')}.`

const EXITS: Record<ExitName, string> = {
  done: 'done',
  finding: 'done, and there is something to look at: a check is critical, or nothing was found',
  usage: 'the command line cannot be understood',
  unreachable: 'Redis cannot be reached',
  permission: 'Redis refused a command (the message names it), or the user name and password',
  confirmation: 'nothing was changed, because it was not confirmed',
  incomplete: 'the answer is not complete, because a scan stopped at its bound',
}

/** Returns docs/cli.md. */
export function commandReference(commands: readonly Command[]): string {
  return `${[
    '# The command line',
    '',
    '`npx turnpike` shows what turnpike keeps in Redis, and changes it where that is wanted. It needs no process of the application.',
    '',
    '<!-- Written by `npm run docs:cli` from the table in src/cli/commands.ts. Change it there. -->',
    '',
    '```console',
    listCommands(commands),
    '```',
    '',
    '## Where Redis is',
    '',
    ...optionTable(TARGET_OPTIONS),
    '',
    'A Cluster and a Sentinel are recognised: pass the URL of one of their nodes. Certificates come from REDIS_SSL_CA_CERTS, REDIS_SSL_CERTFILE and REDIS_SSL_KEYFILE, as `turnpike.fromEnv()` reads them. REDIS_USERNAME and REDIS_PASSWORD go with the variables only, not with `--redis`.',
    '',
    '## What it prints',
    '',
    'The answer is on the standard output. Everything else is on the standard error. With `--json` the answer is one document: `{ "version": 1, "command", "data", "warnings" }`, or `"error"` in place of `"data"`. NO_COLOR turns colours off. Control characters in what comes from Redis are escaped.',
    '',
    '| exit code | |',
    '|---|---|',
    ...Object.entries(EXITS).map(([name, text]) => `| ${EXIT[name as ExitName]} | ${text} |`),
    '',
    '## What it sends',
    '',
    'Commands that read use read commands of Redis only, no script. They work on a replica, with the permissions that `turnpike acl viewer` prints. The exception is `sessions --app` without a secret, which asks the instance. Only commands that say so send SCAN. MONITOR, KEYS, FLUSHALL, FLUSHDB and CONFIG SET are never sent.',
    '',
    ...(commands.some(({ redis }) => redis === 'write') ? writeSection() : []),
    '## Commands',
    '',
    ...commands.flatMap(commandSection),
    '## Options of every command',
    '',
    ...optionTable(GENERAL_OPTIONS),
  ].join('\n')}\n`
}

const writeSection = (): string[] => [
  '## Changing something',
  '',
  'A command that changes data shows what it will do, and asks. A change that concerns many subjects wants a name typed. Without a terminal nothing happens, unless `--yes` is given.',
  '',
  ...optionTable(WRITE_OPTIONS),
  '',
]

const optionTable = (options: Readonly<Record<string, CommandOption>>): string[] => [
  '| option | |',
  '|---|---|',
  ...Object.entries(options).map(
    ([name, option]) => `| \`${flagOf(name, option)}\` | ${option.help} |`,
  ),
]

const commandSection = (command: Command): string[] => [
  `### ${command.name}`,
  '',
  '```console',
  callOf(command),
  ...(command.examples ?? []),
  '```',
  '',
  [command.summary, ...(command.notes ?? [])].join(' '),
  '',
  `${EFFECTS[command.redis]}${neededPermissions(command)}`,
  '',
  ...(command.options ? [...optionTable(command.options), ''] : []),
]
