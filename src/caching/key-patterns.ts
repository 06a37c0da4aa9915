/** Patterns of names, as they are looked for among stored keys. */
import { keyPart, type KeySpace } from '../store/keys.ts'

/** Returns a pattern as it stands in keys: everything but `*` and `?` is escaped. */
export const readablePattern = (glob: string): string =>
  glob
    .split(/([*?]+)/)
    .map((piece, i) => (i % 2 === 1 || piece === '' ? piece : keyPart(piece, Infinity)))
    .join('')
    // An escaped character is longer than one.
    .replaceAll('?', '*')

/** Returns the pattern of hash tags: those of one tenant, or all. */
export const tagPattern = (keys: KeySpace, tenant: string | undefined): string =>
  tenant === undefined ? '*' : `${keys.tenantPart(tenant)}=*`

/** Returns whether a stored key is meant: without a tenant, the keys of tenants are not. */
export const isMeant = (stored: string, tenant: string | undefined): boolean =>
  tenant !== undefined || !stored.slice(stored.indexOf('{'), stored.indexOf('}')).includes('=')

/** Returns the readable part of a stored key and what follows it, still escaped. */
export const readablePart = (stored: string): string => stored.slice(stored.indexOf('}:') + 2)
