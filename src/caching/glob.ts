/** Patterns of names: `*` stands for any run of characters, `?` for one. Everything else is itself. */

const compiled = new Map<string, RegExp>()

/** Does the pattern match the whole of `name`? */
export function matches(glob: string, name: string): boolean {
  let pattern = compiled.get(glob)
  if (!pattern) {
    // Runs of stars are one: what follows must not be tried twice over.
    const source = glob.replace(/\*+/g, '*').replace(/[.+^${}()|[\]\\/]/g, '\\$&').replaceAll('*', '[^]*?').replaceAll('?', '[^]')
    pattern = new RegExp(`^${source}$`, 'u')
    if (compiled.size >= 256) compiled.clear()
    compiled.set(glob, pattern)
  }
  return pattern.test(name)
}
