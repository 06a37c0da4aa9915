/** Parts of an instance that can have a store of their own. */

/** Areas of built-in features. Their keys begin with `<prefix>:`, those of other areas with `<prefix>:<area>:`. */
const BUILT_IN = ['session', 'cache', 'rateLimit', 'idempotency', 'lock'] as const

/** Names of areas that the package knows: features, and extensions that come with it. */
export const AREAS: readonly string[] = [
  ...BUILT_IN,
  'realtime',
  'queue',
  'operations',
  'tokens',
  'collections',
  'flags',
]

/**
 * A part of an instance that can have a database or a server of its own: a built-in feature, or any
 * extension by its name.
 */
export type Area =
  | (typeof BUILT_IN)[number]
  | 'realtime'
  | 'queue'
  | 'operations'
  | 'tokens'
  | 'collections'
  | 'flags'
  | (string & {})

/** Returns true for the areas of built-in features. */
export const isBuiltInArea = (area: string): boolean =>
  (BUILT_IN as readonly string[]).includes(area)
