/** Values by a pattern of their keys. */
import { unlinkKeys } from '../../caching/entry-operations.ts'
import { isMeant, readablePart, readablePattern, tagPattern } from '../../caching/key-patterns.ts'
import type { ExtensionContext } from '../../extension.ts'
import { matchesGlob } from '../../store/glob.ts'
import type { DataEngine } from './engine.ts'

/** A key that a pattern matches: as it stands in Redis, and with its namespace. */
interface FoundKey {
  readonly stored: string
  readonly name: string
}

/** Finds the keys that a pattern matches, by SCAN on every node. @throws TP_UNAVAILABLE */
async function* findKeys(
  { keys }: ExtensionContext,
  { cacheStore }: DataEngine,
  glob: string,
  tenant: string | undefined,
): AsyncGenerator<FoundKey> {
  const pattern = keys.key('data', tagPattern(keys, tenant), readablePattern(glob))
  const seen = new Set<string>()
  for await (const batch of cacheStore.store.scan(pattern)) {
    for (const stored of batch) {
      const name = nameIn(stored)
      if (name === undefined || !isMeant(stored, tenant) || !matchesGlob(glob, name)) continue
      if (seen.has(stored)) continue
      seen.add(stored)
      yield { stored, name }
    }
  }
}

/** Returns the keys that a pattern matches, without their namespace. @throws TP_UNAVAILABLE */
export async function listKeys(
  context: ExtensionContext,
  engine: DataEngine,
  glob: string,
  tenant: string | undefined,
): Promise<string[]> {
  const start = engine.nameOf('').length
  const names: string[] = []
  for await (const { name } of findKeys(context, engine, engine.nameOf(glob), tenant))
    names.push(name.slice(start))
  return names
}

/** Removes the keys that a pattern matches, and returns their number. @throws TP_UNAVAILABLE */
export async function removeKeys(
  context: ExtensionContext,
  engine: DataEngine,
  glob: string,
  tenant: string | undefined,
  dryRun: boolean,
): Promise<number> {
  const { cacheStore } = engine
  const pattern = engine.nameOf(glob)
  // A value that is being loaded is hit, too, and one whose key is too long to be found.
  if (!dryRun) await cacheStore.invalidationLog(tenant).invalidate([pattern], 'glob')
  let count = 0
  for await (const { stored } of findKeys(context, engine, pattern, tenant)) {
    if (!dryRun) await cacheStore.store.run(unlinkKeys, [stored, `${stored}:lease`], [])
    count++
  }
  return count
}

/** Returns the key at the end of a stored key. Undefined for leases, and for keys that are hashed. */
function nameIn(stored: string): string | undefined {
  const readable = readablePart(stored)
  if (readable.includes(':') || readable.startsWith('~')) return undefined
  try {
    return decodeURIComponent(readable)
  } catch {
    return undefined
  }
}
