/** The names of scripts, for tracers that see nothing but their SHA-1. */

/** Extensions are few. This bound is for a program that declares operations again and again. */
const MAX_NAMES = 2000

const NAMES = Symbol.for('turnpike.script-names@1')
const names = new Map<string, string>()
/** One for all copies of the package: a tracer may have loaded another one than the application. */
const shared = ((globalThis as { [NAMES]?: Map<string, string> })[NAMES] ??= names)

/** Notes the name of a script. @param sha SHA-1 of the script */
export function nameScript(sha: string, name: string): void {
  if (shared.size < MAX_NAMES || shared.has(sha)) shared.set(sha, name)
}

/** Returns the name of a script, undefined for a script of others. */
export const scriptName = (sha: string): string | undefined => shared.get(sha)
