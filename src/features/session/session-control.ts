/** `tp.sessions`: lists and ends the sessions of users. */
import { TurnpikeError } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { requireTenant } from '../../store/subject.ts'
import { USER_ID, userIdString, type UserId } from '../../user-id.ts'
import { integer, optionError, validateOptions, type Validator } from '../../validate.ts'
import type { SessionEngine } from './engine.ts'
import { sessionChangesOf } from './session-changes.ts'
import { destroySession } from './operations/destroy.ts'
import { listSessions } from './operations/list.ts'
import { loadSessions } from './operations/load.ts'
import { revokeBefore } from './operations/revoke-before.ts'
import { sweepRevoked } from './operations/sweep.ts'
import {
  handleOf,
  keysAt,
  keysOfHandle,
  keysOfId,
  userTag,
  type SessionKeys,
} from './session-id.ts'
import { isRevoked } from './record-storage.ts'
import { reportRevokedSession, reportRevokedUser } from './revocation.ts'

/** A user's session, as `tp.sessions.list()` describes it. */
export interface UserSession {
  /** Identifies the session in `revoke()` and in events. It is no credential: the session's ID cannot be derived from it. */
  handle: string
  /** ID of the user, as `tp.session.login()` was given it. */
  user: string
  /** When the session began. */
  created: Date
  /** When its time to live was last renewed: at most `touchAfter` before its last use. */
  lastSeen: Date
  /** When it ends if it is not used again. */
  expires: Date
  /** The client's address at login. */
  ip: string | undefined
  /** The client's user agent at login. */
  userAgent: string | undefined
  /** True for the session that the option `current` names. */
  current: boolean
}

/** Which tenant's user is meant, if the application has tenants. */
interface TenantOption {
  tenant?: string
}

/** The sessions of users, outside a request. Each method rejects with TP_UNAVAILABLE if the store cannot answer. */
export interface SessionControl {
  /**
   * Lists a user's sessions. Those that expire first come first.
   * @param options `current`: the session ID (`req.sessionID`) to mark. `offset`: default 0. `limit`: default 1,000
   */
  list(
    user: UserId,
    options?: TenantOption & { current?: string; offset?: number; limit?: number },
  ): Promise<UserSession[]>
  /** Ends one session, by its handle or its ID. True if it existed. */
  revoke(session: string, options?: TenantOption): Promise<boolean>
  /**
   * Ends all sessions of a user, also those that are missing in the index. Returns how many the index knew.
   * @param options `except`: ID or handle of a session that stays valid
   */
  revokeAll(user: UserId, options?: TenantOption & { except?: string }): Promise<number>
  /** Returns the number of a user's sessions. */
  count(user: UserId, options?: TenantOption): Promise<number>
}

const BATCH = 200
const DAY = 86_400_000
/** A revocation outlives every cookie: browsers keep one for at most 400 days (RFC 6265bis). */
const REVOCATION_MS = 400 * DAY
const string: Validator = {
  expected: 'a string',
  accepts: (value) => typeof value === 'string',
}
const WHERE = 'tp.sessions'

/** One of a user's indexes: there is one for each secret that is still valid. */
interface UserIndexKeys {
  readonly keys: SessionKeys
  readonly engine: SessionEngine
}

export class SessionDirectory implements SessionControl {
  readonly #context: ExtensionContext
  readonly #engines: readonly SessionEngine[]

  /** @param engines of all mounts of the instance. Mounts may be added later */
  constructor(context: ExtensionContext, engines: readonly SessionEngine[]) {
    this.#context = context
    this.#engines = engines
  }

  async list(
    user: UserId,
    options: Parameters<SessionControl['list']>[1] = {},
  ): Promise<UserSession[]> {
    validateOptions(`${WHERE}.list()`, options, {
      tenant: string,
      current: string,
      offset: integer(0),
      limit: integer(1, 100_000),
    })
    const { offset = 0, limit = 1000 } = options
    const tenant = this.#tenant(options.tenant)
    const current =
      options.current === undefined ? undefined : handleOf(this.#keysOf(options.current, tenant))
    const all: UserSession[] = []
    let skip = offset
    for (const index of this.#indexesOf(user, tenant)) {
      let total = Infinity
      for (let at = skip; at < total && all.length < limit; at += BATCH) {
        const page = await this.#page(index, tenant, at, current)
        total = page.total
        all.push(...page.sessions)
      }
      skip = Math.max(0, skip - total)
    }
    return all.slice(0, limit)
  }

  async revoke(session: string, options: TenantOption = {}): Promise<boolean> {
    validateOptions(`${WHERE}.revoke()`, options, { tenant: string })
    const keys = this.#keysOf(session, this.#tenant(options.tenant))
    const changes = sessionChangesOf(this.#context)
    const destroyed = await changes.during(keys.session, () =>
      this.#context.store.run(
        destroySession,
        [keys.session, keys.index],
        [keys.digest, changes.channel],
      ),
    )
    reportRevokedSession(this.#context, keys)
    return destroyed === 1
  }

  async revokeAll(user: UserId, options: TenantOption & { except?: string } = {}): Promise<number> {
    validateOptions(`${WHERE}.revokeAll()`, options, { tenant: string, except: string })
    const { except } = options
    const tenant = this.#tenant(options.tenant)
    const exempt = except === undefined ? '' : this.#keysOf(except, tenant).digest
    let deleted = 0
    const changes = sessionChangesOf(this.#context)
    const indexes = this.#indexesOf(user, tenant)
    try {
      for (const { keys } of indexes) {
        // These revoke all of them. What follows only deletes, in batches that do not block Redis.
        await changes.during(keys.index, () =>
          this.#context.store.run(
            revokeBefore,
            [keys.revokeBefore, keys.index],
            [exempt, REVOCATION_MS, changes.channel],
          ),
        )
      }
      for (const { keys } of indexes) deleted += await this.#sweep(keys)
    } finally {
      // Also if it failed: sessions may be revoked. Streams of those that are not begin again.
      reportRevokedUser(this.#context, userIdString(user)!, tenant)
    }
    return deleted
  }

  async count(user: UserId, options: TenantOption = {}): Promise<number> {
    validateOptions(`${WHERE}.count()`, options, { tenant: string })
    const counts = await Promise.all(
      this.#indexesOf(user, this.#tenant(options.tenant)).map(({ keys }) =>
        this.#context.store.run(listSessions, [keys.index], [0, 0]),
      ),
    )
    return counts.reduce<number>((sum, [count]) => sum + Number(count), 0)
  }

  /** Deletes the revoked sessions of one index. */
  async #sweep(keys: SessionKeys): Promise<number> {
    let deleted = 0
    for (let offset = 0; ;) {
      const [examined = 0, removed = 0, left = 0] = await this.#context.store.run(
        sweepRevoked,
        // The keys of an index have no digest: this is what the keys of all its sessions begin with.
        [keys.index, keys.revokeBefore, keys.session],
        [offset, BATCH],
      )
      deleted += removed
      offset += left
      if (examined < BATCH) return deleted
    }
  }

  /** Reads one page of an index and its sessions. */
  async #page(
    { keys: { tag, index, revokeBefore }, engine }: UserIndexKeys,
    tenant: string | undefined,
    offset: number,
    current: string | undefined,
  ): Promise<{ total: number; sessions: UserSession[] }> {
    const { store, keys } = this.#context
    const [total, ...pairs] = await store.run(listSessions, [index], [offset, BATCH])
    const entries: { keys: SessionKeys; expires: Date }[] = []
    for (let i = 0; i + 1 < pairs.length; i += 2)
      entries.push({
        keys: keysAt(keys, tag, String(pairs[i]), '', tenant),
        expires: new Date(Number(pairs[i + 1])),
      })
    if (entries.length === 0) return { total: Number(total), sessions: [] }
    const [revoked, ...texts] = await store.run(
      loadSessions,
      [revokeBefore, ...entries.map(({ keys }) => keys.session)],
      [],
    )
    const sessions = entries.flatMap(({ keys, expires }, i): UserSession[] => {
      const described = describe(engine, keys, texts[i], revoked)
      return described ? [{ ...described, expires, current: described.handle === current }] : []
    })
    return { total: Number(total), sessions }
  }

  #indexesOf(user: UserId, tenant: string | undefined): UserIndexKeys[] {
    const name = userIdString(user)
    if (name === undefined) throw optionError(WHERE, 'user', user, USER_ID)
    const indexes = new Map<string, UserIndexKeys>()
    for (const engine of this.#engines) {
      for (const secret of engine.options.secrets) {
        const tag = userTag(name, secret)
        indexes.set(tag, { keys: keysAt(this.#context.keys, tag, '', '', tenant), engine })
      }
    }
    if (indexes.size === 0)
      throw new TurnpikeError(
        'TP_OPTION',
        `${WHERE}: create the middleware first: tp.session({ secret }). Its secret leads to the sessions of a user.`,
      )
    return [...indexes.values()]
  }

  #keysOf(session: string, tenant: string | undefined): SessionKeys {
    if (typeof session !== 'string' || session === '')
      throw optionError(
        WHERE,
        'session',
        session,
        'a handle of tp.sessions.list(), or a session ID',
      )
    const { keys } = this.#context
    return keysOfHandle(keys, session, tenant) ?? keysOfId(keys, session, tenant)
  }

  #tenant(tenant: string | undefined): string | undefined {
    return requireTenant(this.#context, tenant, WHERE)
  }
}

/** Describes a stored session. Undefined if it is revoked, or cannot be read. */
function describe(
  engine: SessionEngine,
  keys: SessionKeys,
  text: string | null | undefined,
  revoked: string | null | undefined,
): Omit<UserSession, 'expires' | 'current'> | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const stored = engine.storage.records.parse(text, keys.digest)
    const { user, ip, agent } = stored.meta
    if (user === undefined || isRevoked(stored, keys.digest, revoked)) return undefined
    return {
      handle: handleOf(keys),
      user,
      ip,
      userAgent: agent,
      created: new Date(stored.created),
      lastSeen: new Date(stored.touched),
    }
  } catch {
    // A request with this session's cookie reports that it cannot be read.
    return undefined
  }
}
