import { createHash } from 'node:crypto'
import { scriptName } from '../../store/script-names.ts'

/** Returns a command as a span shows it: its name, and that of its script. No argument is part of it. */
export function commandText(command: string, args: readonly unknown[]): string {
  const name = /^[a-z]{1,40}$/i.test(command) ? command.toUpperCase() : 'UNKNOWN'
  const [first] = args
  const script =
    typeof first !== 'string'
      ? undefined
      : name === 'EVALSHA'
        ? scriptName(first)
        : name === 'EVAL'
          ? scriptName(createHash('sha1').update(first).digest('hex'))
          : undefined
  return script === undefined ? name : `${name} ${script}`
}
