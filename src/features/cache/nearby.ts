/** Hits in this process, answered at once: no promise, no hash, no header that is read twice. */
import type { CacheEntry } from '../../caching/entry.ts'
import { MAX_NEAR_STRING_BYTES, type NearEntry } from '../../caching/near-cache.ts'
import type { EntryKeys } from '../../caching/entry-keys.ts'
import type { HeaderFields, Reply } from '../../http/exchange.ts'
import { acceptsCoding } from './conditional.ts'
import type { Nearby } from './edge.ts'
import { variantOf } from './keys.ts'
import type { Mount } from './mount.ts'
import { ageOf, isConditional, replyFrom, type Asked } from './reply.ts'
import { storedIn } from './stored.ts'
import type { Target } from './targets.ts'

/** An entry as it is sent whole. */
interface Form {
  /** The coding that the client must take. */
  readonly coding: string | undefined
  readonly whole: Reply
  readonly text: string | undefined
  /** The answer of this second. */
  age: number
  ttl: number
  detail: string
  reply: Reply | undefined
  /** The last Accept-Encoding that was looked at, and whether it takes the coding. */
  accepts: string | undefined
  isTaken: boolean
}

function formOf(entry: CacheEntry): Form {
  const { packed, coding: own } = storedIn(entry)
  const coding = packed ? 'gzip' : own
  const asked: Asked = {
    method: 'GET',
    header: (name) => (name === 'accept-encoding' ? coding : undefined),
  }
  return {
    coding,
    whole: replyFrom(entry, asked, {}) as Reply,
    text: entry.body.length <= MAX_NEAR_STRING_BYTES ? entry.body.toString('latin1') : undefined,
    age: -1,
    ttl: -1,
    detail: '',
    reply: undefined,
    accepts: undefined,
    isTaken: acceptsCoding(undefined, coding ?? 'identity'),
  }
}

function takes(form: Form, accepts: string | undefined): boolean {
  if (form.coding === undefined) return true
  if (form.accepts !== accepts) {
    form.accepts = accepts
    form.isTaken = acceptsCoding(accepts, form.coding)
  }
  return form.isTaken
}

/** The fields as `writeHead` takes them, if each is one line. */
function linesOf(headers: HeaderFields, length: number): string[] | undefined {
  const fields = Object.entries(headers)
  if (fields.some(([, value]) => typeof value !== 'string')) return undefined
  return [...(fields as [string, string][]).flat(), 'Content-Length', String(length)]
}

/** The longest that -ln(1 - Math.random()) can be. */
const FARTHEST = 37

/**
 * Answers from this process alone, where that needs neither the application's own functions nor
 * Redis; undefined: look in the ordinary way. Whether the request may be answered from a cache at
 * all has been decided.
 */
export function nearby<Native>(mount: Mount<Native>): Nearby {
  const { engine, name, options } = mount
  const { shelf } = engine
  const near = shelf.near(mount.near)
  const isAuto = options.ttl === 'auto'
  const mayBeEarly = mount.background && mount.wait > 0

  function placeOf({ base }: Target, asked: Asked): Pick<EntryKeys, 'entry' | 'ledger'> {
    const names = engine.vary.get(base.entry) ?? mount.vary
    if (names.length === 0) return base
    const { entry, ledger } = base
    return { entry: `${entry}${variantOf(names, (name) => asked.header(name))}`, ledger }
  }

  /** Could it be time to make the entry anew (see `isEarly`)? */
  const isSettled = ({ entry }: NearEntry, now: number): boolean =>
    !mayBeEarly ||
    entry.staleUntil <= entry.freshUntil ||
    now + FARTHEST * entry.cost < entry.freshUntil

  return function answer(target, asked, detail = '') {
    // What the client wishes counts only here.
    if (isAuto && (asked.header('cache-control') ?? asked.header('pragma')) !== undefined)
      return undefined
    const place = placeOf(target, asked)
    const now = shelf.store.now()
    const kept = near.find(place, now)
    if (kept === undefined || !isSettled(kept, now)) return undefined
    const { entry } = kept
    const form = (kept.form ??= formOf(entry)) as Form
    engine.count(name, 'near', place.entry)
    const age = ageOf(entry, now)
    const ttl = Math.floor((entry.freshUntil - now) / 1000)
    const added = (): HeaderFields => ({
      'Cache-Status': `turnpike; hit; ttl=${ttl}${detail}`,
      Age: String(age),
    })
    if (isConditional(asked) || !takes(form, asked.header('accept-encoding'))) {
      const reply = replyFrom(entry, asked, added())
      return reply instanceof Promise ? reply.then((reply) => ({ reply })) : { reply }
    }
    if (
      form.reply === undefined ||
      form.age !== age ||
      form.ttl !== ttl ||
      form.detail !== detail
    ) {
      const { whole, text } = form
      form.age = age
      form.ttl = ttl
      form.detail = detail
      const headers = { ...whole.headers, ...added() }
      form.reply = { ...whole, headers, text, lines: linesOf(headers, entry.body.length) }
    }
    return { reply: form.reply }
  }
}
