/** What a command of the program `turnpike` consists of, and what it may do. */
import type { RedisTarget } from './target.ts'

/** Exit codes. A script can tell from them what to do next. */
export const EXIT = {
  /** Done. */
  done: 0,
  /** Done, and there is something to look at: a critical check, nothing found. */
  finding: 1,
  /** The command line cannot be understood. */
  usage: 2,
  /** Redis cannot be reached. */
  unreachable: 3,
  /** Redis refused a command, or the user name and password. */
  permission: 4,
  /** Nothing was changed: the change has to be confirmed. */
  confirmation: 5,
  /** The answer is not complete: a scan stopped at its bound. */
  incomplete: 6,
} as const

/** A name of an exit code. */
export type ExitName = keyof typeof EXIT

/** Ends a command with a message for the caller. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exit: ExitName

  constructor(exit: ExitName, message: string) {
    super(message)
    this.exit = exit
  }
}

/** One option, as `node:util.parseArgs` takes it, with its help. */
export interface CommandOption {
  readonly type: 'string' | 'boolean'
  /** What stands for the value in the help. Strings only. */
  readonly value?: string
  readonly help: string
}

/** A line of the answer. The tone is a colour where the terminal has colours. */
export type OutputLine = string | { readonly text: string; readonly tone: Tone }
export type Tone = 'good' | 'review' | 'bad' | 'faint'

/** What a command answers: the same as data for `--json`, and as lines for a person. */
export interface CommandResult {
  readonly data: unknown
  readonly lines: readonly OutputLine[]
  /** @default 'done' */
  readonly exit?: ExitName
}

/** What a command is called with. */
export interface CommandCall {
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | undefined>>
  readonly env: NodeJS.ProcessEnv
  /** The local clock, in ms since the epoch. */
  now(): number
  /** Reports something beside the answer. */
  warn(message: string): void
  /** Returns where Redis is. Opens a connection at the first call. */
  target(): Promise<RedisTarget>
  /** Shows what will be changed, and asks. Returns false for `--dry-run`. @throws CommandError without a yes */
  confirm(plan: WritePlan): Promise<boolean>
}

/** What a command is about to change. */
export interface WritePlan {
  readonly lines: readonly string[]
  /** A name that has to be typed, for a change that concerns many. */
  readonly typed?: string
  /**
   * What the plan was made from, without times. If it is the same later, the plan still is what was
   * shown. @default `lines`
   */
  readonly state?: unknown
}

/** One command, as in `npx turnpike explain TP_OPTION`. */
export interface Command {
  /** Its words: `'locks break'`. */
  readonly name: string
  /** Its arguments, as the help shows them. */
  readonly usage: string
  /** Smallest and greatest number of arguments. */
  readonly takes: readonly [least: number, most: number]
  /** What it does, in one line. */
  readonly summary: string
  /** What else its user must know: one paragraph each. */
  readonly notes?: readonly string[]
  readonly options?: Readonly<Record<string, CommandOption>>
  /**
   * What it does with Redis. Only `scan` sends SCAN. Only `write` changes anything, and it asks
   * before.
   */
  readonly redis: 'none' | 'read' | 'scan' | 'write'
  /** Commands that the Redis user needs besides those of every connection. */
  readonly permissions?: readonly string[]
  readonly examples?: readonly string[]
  run(call: CommandCall): CommandResult | Promise<CommandResult>
}

/** Where a command prints, and what it knows of its surroundings. */
export interface CommandOutput {
  /** Prints a line to the standard output. */
  print(text: string): void
  /** Prints a line to the standard error. */
  complain(text: string): void
  /** @default process.env */
  readonly env?: NodeJS.ProcessEnv
  /** True if colours may be printed. @default false */
  readonly hasColors?: boolean
  /** Asks a person a question. Left out where there is no terminal. */
  readonly ask?: (question: string) => Promise<string>
  /** The local clock. @default Date.now */
  readonly now?: () => number
}
