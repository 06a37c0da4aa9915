/** What a command of the program `turnpike` consists of. */

/** Exit code for a command line that cannot be understood. */
export const USAGE_ERROR = 2

/** Where a command prints. */
export interface CommandOutput {
  /** Prints to the standard output. */
  print(text: string): void
  /** Prints to the standard error. */
  complain(text: string): void
}

/** One command, as in `npx turnpike explain TP_OPTION`. */
export interface Command {
  /** Its arguments, as the help shows them. */
  readonly usage: string
  /** What it does, in one line. */
  readonly summary: string
  /** Runs it with the arguments after its name. Returns the exit code. */
  run(args: readonly string[], output: CommandOutput): number | Promise<number>
}
