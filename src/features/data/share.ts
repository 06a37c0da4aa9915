/** May a value that another call has just loaded answer this one? Not if it was invalidated before this one began. */
import type { CacheEntry } from '../../caching/entry.ts'
import type { LookupResult, EntryKeys } from '../../caching/entry-keys.ts'
import { tagsMissingFrom } from '../../caching/validity.ts'

/** @throws TP_UNAVAILABLE when the record of invalidations has to be asked, and cannot */
export async function mayShare(
  entry: CacheEntry,
  found: LookupResult | undefined,
  { ledger }: EntryKeys,
  now: number,
): Promise<boolean> {
  if (ledger.owes(entry)) return false
  if (!found) return true
  let { snapshot } = found
  if (now >= entry.freshUntil) return false
  if (entry.sequence >= snapshot.sequence && (snapshot.nonce ?? entry.nonce) === entry.nonce)
    return true
  if (tagsMissingFrom(snapshot, entry.tags).length > 0) snapshot = await ledger.read(entry.tags)
  return ledger.validity(entry, snapshot) === Infinity
}
