/**
 * Returns true if the pattern matches the whole of `name`. `*` matches any characters, `?` matches
 * one; every other character matches itself. Takes at most as many steps as the product of both
 * lengths.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  let [p, n, star, resume] = [0, 0, -1, 0]
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++
      resume = n
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      // Let the last star match one more character.
      p = star + 1
      n = ++resume
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
