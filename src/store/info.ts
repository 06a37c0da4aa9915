/** The fields of Redis's INFO. */
export function parseInfo(info: string): Record<string, string> {
  const pairs = info.split('\r\n').filter((line) => line.includes(':') && !line.startsWith('#'))
  return Object.fromEntries(
    pairs.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}
