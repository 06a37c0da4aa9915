/** Several caches around one handler. What an inner one knows of the response, the outer ones must know. */
import type { CacheReason } from './reasons.ts'

/** A fill of an outer cache that is under way for the same request. */
export interface OuterFill {
  /** The mount. One that is mounted twice on a request's way passes the second time. */
  readonly mount: object
  readonly store: object
  /** The key of the entry that it fills. */
  readonly key: string
  /** The owner of the entry; undefined: it is not of one owner. */
  readonly owner: string | undefined
  addTags(fields: readonly string[]): void
  addVary(names: readonly string[]): void
  /** Excludes the response from being stored. */
  exclude(reason: CacheReason): void
}

const fills = new WeakMap<object, OuterFill[]>()
const NONE: readonly OuterFill[] = []

/** Returns the fills of outer caches, the outermost first. */
export const outerFillsOf = (native: unknown): readonly OuterFill[] =>
  fills.get(native as object) ?? NONE

/** Notes that a request fills an entry. */
export function registerFill(native: unknown, fill: OuterFill): void {
  const known = fills.get(native as object)
  if (known) known.push(fill)
  else fills.set(native as object, [fill])
}

/** Tells outer caches what their response depends on, because it contains this one. */
export function tellOuterFills(
  native: unknown,
  {
    tags,
    vary,
    owner,
  }: { tags: readonly string[]; vary: readonly string[]; owner: string | undefined },
): void {
  for (const fill of outerFillsOf(native)) {
    fill.addTags(tags)
    fill.addVary(vary)
    if (owner !== undefined && owner !== fill.owner) fill.exclude('scope')
  }
}
