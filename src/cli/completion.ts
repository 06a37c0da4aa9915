/** `turnpike completion`: prints a script that completes command lines. */
import { optionsOf } from './arguments.ts'
import { CommandError, type Command } from '../commands/command.ts'

/** Creates the command. @param commands returns the table that it completes */
export function createCompletion(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    usage: 'bash|zsh|fish',
    takes: [1, 1],
    summary: 'Print a script that completes turnpike in a shell.',
    redis: 'none',
    examples: ['turnpike completion bash >> ~/.bashrc'],
    run({ args: [shell = ''] }) {
      const scripts: Record<string, (all: readonly Command[]) => string> = { bash, zsh, fish }
      const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined
      if (script === undefined)
        throw new CommandError('usage', `There is no completion for ${shell}: bash, zsh or fish.`)
      const text = script(commands())
      return { data: { shell, script: text }, lines: text.split('\n') }
    },
  }
}

/** Words that may follow, by the words before. */
function nextWords(commands: readonly Command[]): Map<string, string[]> {
  const words = new Map<string, Set<string>>()
  const add = (before: string, word: string): void => {
    words.set(before, (words.get(before) ?? new Set()).add(word))
  }
  for (const command of commands) {
    const parts = command.name.split(' ')
    parts.forEach((part, i) => add(parts.slice(0, i).join(' '), part))
    for (const option of Object.keys(optionsOf(command))) add(command.name, `--${option}`)
  }
  return new Map([...words].map(([before, each]) => [before, [...each].toSorted()]))
}

function bash(commands: readonly Command[]): string {
  const cases = [...nextWords(commands)].map(
    ([before, words]) => `    '${before}') words='${words.join(' ')}' ;;`,
  )
  return `_turnpike() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before='' words=''
  [ "$COMP_CWORD" -gt 1 ] && before="\${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -gt 2 ]; then
    case "$before \${COMP_WORDS[2]}" in
${doubleNames(commands)
  .map((name) => `      '${name}') before='${name}' ;;`)
  .join('\n')}
    esac
  fi
  case "$before" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _turnpike turnpike`
}

const zsh = (commands: readonly Command[]): string =>
  `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const [first, second] = command.name.split(' ')
    const seen = `__fish_seen_subcommand_from ${first}`
    const own =
      second === undefined
        ? `complete -c turnpike -n __fish_use_subcommand -a ${first} -d '${quote(command.summary)}'`
        : `complete -c turnpike -n '${seen}' -a ${second} -d '${quote(command.summary)}'`
    const options = Object.keys(optionsOf(command)).map(
      (option) => `complete -c turnpike -n '${seen}' -l ${option}`,
    )
    return [own, ...options]
  })
  return ['complete -c turnpike -f', ...new Set(lines)].join('\n')
}

const doubleNames = (commands: readonly Command[]): string[] =>
  commands.flatMap(({ name }) => (name.includes(' ') ? [name] : []))

const quote = (text: string): string => text.replaceAll("'", String.raw`\'`)
