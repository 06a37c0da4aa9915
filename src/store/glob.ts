/** Patterns of names: `*` stands for any run of characters, `?` for one. Everything else is itself. */

/** Does the pattern match the whole of `name`? At worst as many steps as the product of both lengths. */
export function matchesGlob(glob: string, name: string): boolean {
  let [g, n, star, resume] = [0, 0, -1, 0]
  while (n < name.length) {
    if (glob[g] === '*') {
      star = g++
      resume = n
    } else if (g < glob.length && (glob[g] === '?' || glob[g] === name[n])) {
      g++
      n++
    } else if (star >= 0) {
      g = star + 1
      n = ++resume
    } else {
      return false
    }
  }
  while (glob[g] === '*') g++
  return g === glob.length
}
