/** What replicated documents ask of the store. Keys, arguments and replies: see the scripts. */
import type { KeySpace } from '../store/keys.ts'
import { operation, type MemoryDatabase, type Operation } from '../store/store.ts'
import whole from '../store/whole.lua'
import documentLua from './document.lua'
import readLua from './read-document.lua'
import writeLua from './write-document.lua'

/** A document as the in-process engine keeps it. */
interface Stored {
  readonly version: string
  readonly content: string
  readonly keptUntil: number
}

const functions = `${whole}\n${documentLua}`

/** Returns the key of a document. */
export const documentKey = (keys: KeySpace, name: string): string =>
  keys.key('document', keys.tag(name))

/** Returns the content of a document as Redis keeps it, undefined for what is none: see document.lua. */
export const documentContent = (stored: string): string | undefined =>
  /^\d+\.[\w-]+ (.*)$/s.exec(stored)?.[1]

/** Reads a document, unless the caller knows its version. */
export const readDocument: Operation<string[]> = operation({
  name: 'documents.read',
  lua: `${functions}\n${readLua}`,
  memory(database, [key], [known, ttl], now) {
    const stored = database.get<Stored>(key!)
    if (stored === undefined) return ['']
    const { version, content, keptUntil } = stored
    if (keptUntil - now < Number(ttl) / 2) keepDocument(database, key!, stored, Number(ttl), now)
    return version === known ? [version] : [version, content]
  },
})

/** Replaces a document if the stored one has the version that the caller has changed. */
export const writeDocument: Operation<(number | string)[]> = operation({
  name: 'documents.write',
  lua: `${functions}\n${writeLua}`,
  memory(database, [key, changes], [known, content, nonce, ttl, channel, record, most], now) {
    const stored = database.get<Stored>(key!)
    const version = stored?.version ?? ''
    if (version !== known) return [0, version, stored?.content ?? '']
    const written = `${Number(version.split('.')[0]) + 1}.${String(nonce)}`
    const next = { version: written, content: String(content) }
    keepDocument(database, key!, next, Number(ttl), now)
    const records = [String(record), ...(database.get<string[]>(changes!) ?? [])]
    database.set(changes!, records.slice(0, Number(most)), Number(ttl))
    database.publish(String(channel), written)
    return [1, written]
  },
})

/** Reads the latest records of changes: LRANGE. */
export const readChanges: Operation<string[]> = operation({
  name: 'documents.changes',
  command: 'LRANGE',
  memory: (database, [key], [first, last]) =>
    (database.get<string[]>(key!) ?? []).slice(Number(first), Number(last) + 1),
})

function keepDocument(
  database: MemoryDatabase,
  key: string,
  { version, content }: Pick<Stored, 'version' | 'content'>,
  ttl: number,
  now: number,
): void {
  const stored: Stored = { version, content, keptUntil: now + ttl }
  database.set(key, stored, ttl)
}
