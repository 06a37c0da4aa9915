/** Returns the fields of Redis's INFO reply. */
export function parseInfo(info: string): Record<string, string> {
  const lines = info.split('\r\n').filter((line) => line.includes(':') && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}

/** Returns a warning if the server evicts keys when its memory is full. */
export function evictionWarning(info: Record<string, string>): string | undefined {
  const policy = info['maxmemory_policy'] ?? ''
  if (!/^(allkeys|volatile)-/.test(policy) || info['maxmemory'] === '0') return undefined
  return `Redis evicts keys when its memory is full (maxmemory-policy ${policy}). Sessions, limits, locks and idempotency keys can be lost. Keep them on a server with noeviction (option stores).`
}
