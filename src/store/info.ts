/** The fields of Redis's INFO. */
export function parseInfo(info: string): Record<string, string> {
  const pairs = info.split('\r\n').filter((line) => line.includes(':') && !line.startsWith('#'))
  return Object.fromEntries(
    pairs.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}

/** What to say of a server that drops keys when its memory is full; undefined of one that does not. */
export function evicts(info: Record<string, string>): string | undefined {
  const policy = info['maxmemory_policy'] ?? ''
  if (!/^(allkeys|volatile)-/.test(policy) || info['maxmemory'] === '0') return undefined
  return `Redis evicts keys when its memory is full (maxmemory-policy ${policy}): what must last belongs on a server with noeviction (the option stores).`
}
