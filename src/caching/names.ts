/** Names that both the response cache and `tp.data` use. */
import { createHash } from 'node:crypto'

/** Parts with their lengths, so that no two lists are written alike. */
export function digest(parts: readonly string[]): string {
  const hash = createHash('sha256')
  for (const each of parts) hash.update(`${each.length}:`).update(JSON.stringify(each))
  return hash.digest('base64url').slice(0, 32)
}

/** A tag of the application's, as a field of the record of invalidations. */
export const tagField = (tag: string): string =>
  tag.length <= 200 ? `t:${tag}` : `t:~${digest([tag])}`
