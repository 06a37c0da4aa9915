/** What suggestions ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import { compareBytes } from '../order.ts'
import addLua from './add.lua'
import completeLua from './complete.lua'
import removeLua from './remove.lua'

interface Term {
  readonly folded: string
  readonly written: string
  readonly popularity: number
}

type Terms = Map<string, Term>

/** The most popular first. */
const inOrder = (terms: Iterable<Term>): Term[] =>
  [...terms].sort((a, b) => b.popularity - a.popularity || compareBytes(b.folded, a.folded))

/** Adds to the popularity of a term. */
export const addTerm: Operation<string> = operation({
  name: 'suggestions.add',
  lua: `${whole}\n${addLua}`,
  memory(database, [key], [given, written, weight, ttl, most]) {
    const terms: Terms = database.get(key!) ?? new Map()
    const folded = String(given)
    const sum = (terms.get(folded)?.popularity ?? 0) + Number(weight)
    const popularity = Math.min(Number.MAX_SAFE_INTEGER, sum)
    terms.set(folded, { folded, written: String(written), popularity })
    const others = inOrder(terms.values()).filter((term) => term.folded !== folded)
    for (const term of others.slice(Number(most) - 1)) terms.delete(term.folded)
    database.set(key!, terms, Number(ttl))
    return String(popularity)
  },
})

/** Finds the most popular terms with a prefix. */
export const completeTerm: Operation<string[]> = operation({
  name: 'suggestions.complete',
  lua: completeLua,
  memory(database, [key], [prefix, count]) {
    const terms: Terms = database.get(key!) ?? new Map()
    return inOrder(terms.values())
      .filter(({ folded }) => folded.startsWith(String(prefix)))
      .slice(0, Number(count))
      .map(({ written }) => written)
  },
})

/** Removes a term. */
export const removeTerm: Operation<number> = operation({
  name: 'suggestions.remove',
  lua: removeLua,
  memory: (database, [key], [folded]) =>
    database.get<Terms>(key!)?.delete(String(folded)) ? 1 : 0,
})
