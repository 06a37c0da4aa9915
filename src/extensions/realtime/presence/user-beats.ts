/** Notes of who is seen, throttled, and of the connections that are open in this process. */
import { isUnavailable, TurnpikeError } from '../../../errors.ts'
import { requireTenant } from '../../../store/subject.ts'
import { requireUserId, type UserId } from '../../../user-id.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Topics } from '../channels/topics.ts'
import { MAX_SWEPT, noteUsers, readLastSeen, readOnline } from './operations.ts'
import type { OnlineOptions, OnlinePage, PresenceConnection } from './options.ts'

const WHERE = 'presence()'
export const PRESENCE_TOPIC = 'presence'
const MAX_USER_LENGTH = 200
const MAX_CONNECTIONS = 100_000
/** Users that are noted by one call. */
const BATCH = 50
/** Notes that this process remembers. Beyond them the oldest one is forgotten, and noted again. */
const MAX_NOTES = 100_000

/** Returns true for a user's ID that can be stored. */
export const isUserName = (name: string): boolean =>
  name.length <= MAX_USER_LENGTH && name.isWellFormed()

export interface PresenceSettings {
  /** Time after which a user has left, in ms. */
  readonly ttl: number
  readonly max: number
}

/** Users of one tenant, or of the application. */
interface Group {
  readonly feed: FeedSettings
  readonly keys: readonly string[]
  /** Number of notes that are remembered. */
  notes: number
  /** Numbers of open connections, by JSON of their users. */
  readonly connected: Map<string, number>
}

/** That a user was noted. */
interface Note {
  readonly group: Group
  /** Time on the monotonic clock. */
  readonly at: number
  hasFailed: boolean
}

export class UserBeats {
  readonly #topics: Topics
  readonly #settings: PresenceSettings
  /** By tenant. Groups without notes and connections are removed, so notes bound their number. */
  readonly #groups = new Map<string | undefined, Group>()
  /** By tenant and user, the oldest first. */
  readonly #notes = new Map<string, Note>()
  #connections = 0
  #isRunning = false

  constructor(topics: Topics, settings: PresenceSettings) {
    this.#topics = topics
    this.#settings = settings
  }

  /** Notes a user in the background: at most three times in `ttl`, unless Redis did not get it. */
  note(name: string, tenant: string | undefined): void {
    const user = JSON.stringify(name)
    const id = tenant === undefined ? user : JSON.stringify(tenant) + user
    const now = this.#store.monotonic()
    const last = this.#notes.get(id)
    if (last !== undefined && !last.hasFailed && now - last.at < this.#settings.ttl / 3) return
    if (this.#store.unavailable() !== undefined) return
    const group = this.#groupOf(tenant, WHERE)
    const note: Note = { group, at: now, hasFailed: false }
    this.#forget(id)
    this.#notes.set(id, note)
    group.notes++
    if (this.#notes.size > MAX_NOTES) this.#forget(this.#notes.keys().next().value!)
    this.#write(group, [user]).then(undefined, () => (note.hasFailed = true))
    this.#start()
  }

  connection(id: UserId, tenant: string | undefined): PresenceConnection {
    const where = `${WHERE}.connection()`
    const name = userName(id, where)
    const user = JSON.stringify(name)
    const group = this.#groupOf(tenant, where)
    if (this.#connections >= MAX_CONNECTIONS)
      throw new TurnpikeError(
        'TP_LIMITED',
        `${where}: this process has ${MAX_CONNECTIONS} connections already.`,
        { status: 503 },
      )
    this.#connections++
    group.connected.set(user, (group.connected.get(user) ?? 0) + 1)
    this.note(name, tenant)
    this.#start()
    let isOpen = true
    return {
      close: () => {
        if (!isOpen) return
        isOpen = false
        this.#connections--
        const left = group.connected.get(user)! - 1
        if (left > 0) group.connected.set(user, left)
        else group.connected.delete(user)
      },
    }
  }

  async isOnline(id: UserId, tenant: string | undefined): Promise<boolean> {
    const where = `${WHERE}.isOnline()`
    const user = JSON.stringify(userName(id, where))
    const [key] = this.#keysOf(tenant, where).keys
    const at = await this.#store.run(readLastSeen, [key!], [user])
    return at !== null && Number(at) > this.#store.now() - this.#settings.ttl
  }

  async online({ cursor, limit = 100, tenant }: OnlineOptions): Promise<OnlinePage> {
    const group = this.#keysOf(tenant, `${WHERE}.online()`)
    // One more shows whether others follow.
    const after = cursor === undefined ? '' : JSON.stringify(cursor)
    const [, ...users] = await this.#read(group, after, limit + 1)
    const names = users.slice(0, limit).flatMap((user) => nameOf(String(user)))
    return { users: names, next: users.length > limit ? names.at(-1) : undefined }
  }

  async count(tenant: string | undefined): Promise<number> {
    const [count] = await this.#read(this.#keysOf(tenant, `${WHERE}.count()`), '', 1)
    return Number(count)
  }

  get #store(): Topics['context']['store'] {
    return this.#topics.context.store
  }

  async #read(
    { feed, keys }: Pick<Group, 'feed' | 'keys'>,
    after: string,
    limit: number,
  ): Promise<(string | number)[]> {
    const { max, ttl } = this.#settings
    const args = [ttl, ...this.#topics.appendArgs(feed), after, limit]
    // One call removes so many of those who have left.
    for (let calls = Math.ceil(max / MAX_SWEPT); ; calls--) {
      const [hasMore, ...reply] = await this.#store.run(readOnline, keys, args)
      if (hasMore !== 1 || calls <= 0) return reply
    }
  }

  /** Rejects if Redis may not have it. */
  async #write({ feed, keys }: Group, users: readonly string[]): Promise<void> {
    const { max, ttl } = this.#settings
    const args = [ttl, max, ...this.#topics.appendArgs(feed), ...users]
    try {
      await this.#store.run(noteUsers, keys, args)
    } catch (error) {
      this.#report(error)
      throw error
    }
  }

  #report(error: unknown): void {
    if (!isUnavailable(error))
      this.#topics.context.events.emit('error', { feature: 'presence', name: 'users', error })
  }

  /** Renews connections and removes users who have left, as long as there is anything to do. */
  #start(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    void this.#run()
  }

  async #run(): Promise<void> {
    const { closing } = this.#topics.context
    try {
      while (this.#groups.size > 0) {
        await this.#store.sleep(this.#settings.ttl / 3, closing, true)
        this.#forgetOld()
        for (const [tenant, group] of this.#groups) {
          await this.#renew(group)
          await this.#read(group, '', 1).catch((error: unknown) => this.#report(error))
          if (group.notes === 0 && group.connected.size === 0) this.#groups.delete(tenant)
        }
      }
    } catch {
      // The instance is closing. What this process kept online lapses.
    } finally {
      this.#isRunning = false
    }
  }

  #forget(id: string): void {
    const note = this.#notes.get(id)
    if (note === undefined) return
    this.#notes.delete(id)
    note.group.notes--
  }

  #forgetOld(): void {
    const now = this.#store.monotonic()
    for (const [id, { at }] of this.#notes) {
      // Until then the process has to find that the user has left.
      if (now - at < 2 * this.#settings.ttl) return
      this.#forget(id)
    }
  }

  /** One batch after the other. All at once would exceed the timeout of the last ones. */
  async #renew(group: Group): Promise<void> {
    const users = [...group.connected.keys()]
    // The next renewal makes up for one that Redis does not get.
    for (let i = 0; i < users.length; i += BATCH)
      await this.#write(group, users.slice(i, i + BATCH)).catch(() => {})
  }

  #groupOf(tenant: string | undefined, where: string): Group {
    const known = this.#groups.get(tenant)
    if (known !== undefined) return known
    const group: Group = { ...this.#keysOf(tenant, where), notes: 0, connected: new Map() }
    this.#groups.set(tenant, group)
    return group
  }

  #keysOf(tenant: string | undefined, where: string): Pick<Group, 'feed' | 'keys'> {
    const { context } = this.#topics
    const feed = this.#topics.feedSettings(PRESENCE_TOPIC, tenant, where)
    const tag = context.keys.tag(PRESENCE_TOPIC, requireTenant(context, tenant, where))
    const keyOf = (sub?: string): string => context.keys.key('present', tag, sub)
    return { feed, keys: [keyOf(), keyOf('names'), feed.key] }
  }
}

/** Returns the name of a user. @throws TP_KEY for what names no user */
function userName(id: UserId, where: string): string {
  const name = requireUserId(id, where)
  if (isUserName(name)) return name
  throw new TurnpikeError(
    'TP_KEY',
    `${where}: the user must have at most ${MAX_USER_LENGTH} characters, and no lone surrogates.`,
  )
}

/** Returns the user of a stored string. None for one that anyone else has written. */
function nameOf(json: string): string[] {
  try {
    const name: unknown = JSON.parse(json)
    return typeof name === 'string' ? [name] : []
  } catch {
    return []
  }
}
