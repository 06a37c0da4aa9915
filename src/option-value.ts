/** How an error shows the value of an option: short, and without secrets. */

/** Returns what an error keeps of a value. */
export function withoutSecrets(option: string, value: unknown): unknown {
  if (SECRET.test(option) || typeof value === 'object' || typeof value === 'function')
    return undefined
  return typeof value === 'string' ? withoutCredentials(value) : value
}

/** Names of options whose values are secrets, and so must not appear in messages and logs. */
const SECRET = /secret|encrypt|password|credential|pep+er/i

/**
 * Returns a string without the credentials that URLs, or what was meant to be one, can hold. The
 * value may come from a client: its length costs no more than to read it once.
 */
function withoutCredentials(text: string): string {
  const shown = text.replace(/[^/\s]+/g, (word) => {
    const end = word.lastIndexOf('@')
    return word.slice(0, Math.max(end, 0)).includes(':') ? `***@${word.slice(end + 1)}` : word
  })
  const scheme = shown.search(/\w:/)
  const query = scheme < 0 ? -1 : shown.indexOf('?', scheme)
  return query < 0 ? shown : `${shown.slice(0, query)}?***`
}

/** Returns a value as an error message shows it: short, with its type, and without secrets. */
export function quote(option: string, value: unknown): string {
  if (value === undefined || value === null) return String(value)
  switch (typeof value) {
    case 'string':
      return SECRET.test(option)
        ? `a string of ${value.length} characters`
        : `'${printable(value)}' (a string)`
    case 'number':
    case 'boolean':
    case 'bigint':
      return `${value} (a ${typeof value})`
    case 'object': {
      if (Array.isArray(value)) return 'an array'
      const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
      return typeof name === 'string' && name !== 'Object' && name !== ''
        ? `an object (${name})`
        : 'an object'
    }
    default:
      return `a ${typeof value}`
  }
}

/** Returns a string for one line of a message. */
function printable(text: string): string {
  const shown = withoutCredentials(text)
  const short = shown.length > 60 ? `${shown.slice(0, 57)}...` : shown
  return JSON.stringify(short).slice(1, -1).replaceAll('\\"', '"')
}
