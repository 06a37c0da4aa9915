/** Permissions as `orders:read`, and the grants that cover them. */

/**
 * Returns true if a list of grants covers a permission. Parts are separated by colons. In a grant,
 * `*` stands for one part, and as the last part for all that follow: `orders:*` covers
 * `orders:read` and `orders:read:own`, and `*` covers everything.
 *
 * @param granted what the caller holds. What is no string covers nothing.
 * @param wanted the permission that is needed, compared with its case
 */
export function isPermitted(granted: unknown, wanted: string): boolean {
  return Array.isArray(granted) && granted.some((grant) => covers(grant, wanted))
}

function covers(grant: unknown, wanted: string): boolean {
  if (typeof grant !== 'string') return false
  if (grant === wanted || grant === '*') return true
  if (!grant.includes('*')) return false
  const [grants, parts] = [grant.split(':'), wanted.split(':')]
  const isOpen = grants.at(-1) === '*'
  if (isOpen ? parts.length < grants.length : parts.length !== grants.length) return false
  return grants.every((each, i) => each === '*' || each === parts[i])
}
