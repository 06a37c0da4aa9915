/**
 * Returns true if a client is in a share of all clients. It is the same in all processes, and a client
 * of a smaller share is in each larger one.
 * @param share in percent
 * @param parts the limit, and what it counts the client by
 */
export function isInShare(share: number, parts: readonly string[]): boolean {
  // FNV-1a, then a final mix: neighbouring addresses must not be in the share together.
  let hash = 0x811c9dc5
  for (const character of Buffer.from(parts.join('\n')))
    hash = Math.imul(hash ^ character, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 < share / 100
}
