/** `tp.sessions`: who is logged in, and where; and ending that. */
import { validateOptions, optionError, integer } from '../../validate.ts'
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { bar } from './bar.ts'
import { destroy } from './destroy.ts'
import type { SessionEngine } from './engine.ts'
import { handleOf, placeAt, placeOf, placeOfHandle, tagOf, type Place } from './id.ts'
import { load } from './load.ts'
import { page } from './page.ts'
import { sweep } from './sweep.ts'
import { isBarred } from './vault.ts'

/** A session of a user's, as `tp.sessions.list()` tells of it. */
export interface UserSession {
  /** Names it in `revoke()` and in events. It is no login: the session's id cannot be told from it. */
  handle: string
  user: string
  created: Date
  /** When its time to live was last renewed: up to `touchAfter` before its last use. */
  lastSeen: Date
  /** When it ends if it is not used again. */
  expires: Date
  /** The client's address and user agent at login. */
  ip: string | undefined
  userAgent: string | undefined
  /** Is it the session of `current`? */
  current: boolean
}

/** Whose sessions are meant, where the application has tenants. */
interface Whose {
  tenant?: string
}

/** The sessions of users, outside a request. Each method rejects with TP_UNAVAILABLE when the store cannot answer. */
export interface SessionControl {
  /**
   * A user's sessions, those first that would end first. At most `limit` (default 1,000) after `offset` (default 0).
   * @param options `current`: a session id (`req.sessionID`), whose session is marked
   */
  list(
    user: string | number,
    options?: Whose & { current?: string; offset?: number; limit?: number },
  ): Promise<UserSession[]>
  /** End one session, by its handle or its id. True if it was there. */
  revoke(session: string, options?: Whose): Promise<boolean>
  /**
   * End all of a user's sessions, also those that the index does not know. Gives how many the index knew.
   * @param options `except`: a session id or handle that may live on
   */
  revokeAll(user: string | number, options?: Whose & { except?: string }): Promise<number>
  /** How many sessions a user has. */
  count(user: string | number, options?: Whose): Promise<number>
}

const BATCH = 200
const DAY = 86_400_000
/** "Log out everywhere" is remembered for longer than any browser keeps a cookie (400 days, RFC 6265bis). */
const REMEMBERED = 400 * DAY
const text = { expected: 'a text', accepts: (value: unknown) => typeof value === 'string' }

/** @param engines of all mounts of this instance */
export function sessionControl(
  context: ExtensionContext,
  engines: readonly SessionEngine[],
): SessionControl {
  const where = 'tp.sessions'

  /** The places that hold a user's sessions: one for each secret that is still valid. */
  function homesOf(
    user: string | number,
    tenant: string | undefined,
  ): { home: Place; engine: SessionEngine }[] {
    if (typeof user !== 'number' && (typeof user !== 'string' || user === ''))
      throw optionError(where, 'user', user, 'a text or a number')
    tenanted(tenant)
    const homes = new Map<string, { home: Place; engine: SessionEngine }>()
    for (const engine of engines) {
      for (const secret of engine.options.secrets) {
        const tag = tagOf(String(user), secret)
        homes.set(tag, { home: placeAt(context.keys, tag, '', '', tenant), engine })
      }
    }
    if (homes.size === 0)
      throw new TurnpikeError(
        'TP_OPTION',
        `${where}: make the middleware tp.session({ secret }) first: its secret tells where a user's sessions are.`,
      )
    return [...homes.values()]
  }

  function tenanted(tenant: string | undefined): void {
    if (tenant === undefined && context.hasTenants)
      throw new TurnpikeError(
        'TP_KEY',
        `${where}: the application has tenants: say whose user this is ({ tenant }).`,
      )
  }

  const placeNamed = (session: string, tenant: string | undefined): Place => {
    if (typeof session !== 'string' || session === '')
      throw optionError(
        where,
        'session',
        session,
        'a handle of tp.sessions.list(), or a session id',
      )
    return placeOfHandle(context.keys, session, tenant) ?? placeOf(context.keys, session, tenant)
  }

  async function pageOf(
    { home, engine }: { home: Place; engine: SessionEngine },
    tenant: string | undefined,
    first: number,
    count: number,
    current: string | undefined,
  ): Promise<{ total: number; sessions: UserSession[] }> {
    const { store, keys } = context
    const [total, ...pairs] = await store.run(page, [home.index], [first, count])
    const members: [string, number][] = []
    for (let i = 0; i + 1 < pairs.length; i += 2)
      members.push([String(pairs[i]), Number(pairs[i + 1])])
    if (members.length === 0) return { total: Number(total), sessions: [] }
    const places = members.map(([member]) => placeAt(keys, home.tag, member, '', tenant))
    const [barred, ...blobs] = await store.run(
      load,
      [home.bar, ...places.map(({ session }) => session)],
      [],
    )
    const sessions = places.flatMap((place, i): UserSession[] => {
      const blob = blobs[i]
      if (typeof blob !== 'string') return []
      try {
        const stored = engine.blobs.read(blob, place.member)
        const { user, ip, agent } = stored.meta
        if (user === undefined || isBarred(stored, place, barred)) return []
        const handle = handleOf(place)
        return [
          {
            handle,
            user,
            ip,
            userAgent: agent,
            current: handle === current,
            created: new Date(stored.created),
            lastSeen: new Date(stored.touched),
            expires: new Date(members[i]![1]),
          },
        ]
      } catch {
        // What cannot be read is nobody's session; the request that brings its cookie reports it.
        return []
      }
    })
    return { total: Number(total), sessions }
  }

  return {
    async list(user, options = {}) {
      validateOptions(`${where}.list()`, options, {
        tenant: text,
        current: text,
        offset: integer(0),
        limit: integer(1, 100_000),
      })
      const { tenant, offset = 0, limit = 1000 } = options
      const current =
        options.current === undefined ? undefined : handleOf(placeNamed(options.current, tenant))
      const all: UserSession[] = []
      let skip = offset
      for (const each of homesOf(user, tenant)) {
        for (let total = Infinity; skip < total && all.length < limit; skip += BATCH) {
          const found = await pageOf(each, tenant, skip, BATCH, current)
          total = found.total
          all.push(...found.sessions)
          if (skip + BATCH >= total) {
            skip = total
            break
          }
        }
        skip = 0
      }
      return all.slice(0, limit)
    },

    async revoke(session, options = {}) {
      tenanted(options.tenant)
      const place = placeNamed(session, options.tenant)
      const ended = await context.store.run(
        destroy,
        [place.session, place.index],
        [place.member, 0],
      )
      return ended === 1
    },

    async revokeAll(user, options = {}) {
      validateOptions(`${where}.revokeAll()`, options, { tenant: text, except: text })
      const { tenant, except } = options
      const { store, keys } = context
      const exempt = except === undefined ? '' : placeNamed(except, tenant).member
      let removed = 0
      for (const { home } of homesOf(user, tenant)) {
        // With this all are dead; what follows only tidies up, in batches that hold nobody up.
        await store.run(bar, [home.bar, home.index], [exempt, REMEMBERED])
        const folder = keys.key('session', keys.tag(home.tag, tenant), '')
        for (let first = 0; ;) {
          const [seen = 0, ended = 0, left = 0] = await store.run(
            sweep,
            [home.index, home.bar, folder],
            [first, BATCH],
          )
          removed += ended
          first += left
          if (seen < BATCH) break
        }
      }
      return removed
    },

    async count(user, options = {}) {
      validateOptions(`${where}.count()`, options, { tenant: text })
      const counts = await Promise.all(
        homesOf(user, options.tenant).map(({ home }) =>
          context.store.run(page, [home.index], [0, 0]),
        ),
      )
      return counts.reduce<number>((sum, [count]) => sum + Number(count), 0)
    },
  }
}
