/** The open streams by whose they are, so that a process can end them for all. */
import { createHash } from 'node:crypto'
import type { EventMap } from '../../../events.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { requireUserId, userIdString, type UserId } from '../../../user-id.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Message } from '../channels/message.ts'
import { encodeData, type Topics } from '../channels/topics.ts'
import type { EventStream } from './event-stream.ts'

/** End of a session's handle: so many characters of the digest of its ID. */
const SESSION_DIGEST_LENGTH = 22
/** How long it is known whose streams were ended, in ms. A connection is not lost for longer as a rule. */
const CONTROL_TTL = 600_000

/** Returns the open streams of an instance by their users. */
export const userStreams = (topics: Topics): UserStreams =>
  topics.context.once('userStreams', () => new UserStreams(topics))

/** Returns the key of a user's places. @throws TP_KEY for what names no user */
export function userKey(
  { keys }: ExtensionContext,
  user: UserId,
  tenant: string | undefined,
  where: string,
): string {
  return keys.key('streams', keys.tag(requireUserId(user, where), tenant))
}

/** Returns the key of a session's streams. @param handle of the session, or its end: the digest of the ID */
const sessionKey = ({ keys }: ExtensionContext, handle: string): string =>
  keys.key('streams', keys.tag(['session', handle.slice(-SESSION_DIGEST_LENGTH)]))

/** Returns the key of the streams of an API key. */
const apiKeyKey = ({ keys }: ExtensionContext, digest: string): string =>
  keys.key('streams', keys.tag(['api-key', digest]))

const sessionDigest = (id: string): string =>
  createHash('sha256').update(id).digest('base64url').slice(0, SESSION_DIGEST_LENGTH)

/** Returns the key of the streams that a revocation ends. */
const revokedKey = (context: ExtensionContext, revoked: EventMap['revoked']): string =>
  revoked.type === 'user'
    ? userKey(context, revoked.subject, revoked.tenant, 'revoked')
    : revoked.type === 'session'
      ? sessionKey(context, revoked.subject)
      : apiKeyKey(context, revoked.subject)

/**
 * Returns by what a stream can be ended: its user, and the user, session and API key of its request.
 * @param user key of the user that the application names
 */
export function subjectsOf(
  context: ExtensionContext,
  native: unknown,
  user: string | undefined,
  tenant: string | undefined,
): string[] {
  const { session, userId, verifiedKey } = context.identityOf(native)
  const subjects = new Set<string>()
  if (user !== undefined) subjects.add(user)
  // Applications put objects of all kinds on requests.
  if (userIdString(userId) !== undefined) subjects.add(userKey(context, userId!, tenant, 'sse()'))
  const { id } = (session ?? {}) as { id?: unknown }
  if (typeof id === 'string') subjects.add(sessionKey(context, sessionDigest(id)))
  if (verifiedKey !== undefined) subjects.add(apiKeyKey(context, verifiedKey.digest))
  return [...subjects]
}

export class UserStreams {
  readonly #topics: Topics
  readonly #control: FeedSettings
  /** By user, session and API key. */
  readonly #streams = new Map<string, Set<EventStream>>()

  constructor(topics: Topics) {
    this.#topics = topics
    const { keys } = topics.context
    const key = keys.key('ended', keys.tag('streams'))
    const ttl = topics.settings.max === 0 ? 0 : CONTROL_TTL
    this.#control = { topic: 'ended streams', key, channel: key, ttl }
    topics.follow(
      this.#control,
      {
        onJoin: () => {},
        onMessage: (message) => this.#receive(message),
        // It is not known which users were logged out meanwhile. Clients that may still read connect again.
        onGap: () => this.#endAll(),
        onEnd: () => {},
      },
      undefined,
    )
    const { closing, events } = topics.context
    events.on('revoked', (event) => {
      if (closing.aborted) return
      // No caller waits for it. Until a process knows, `maxAge` bounds its streams.
      this.end(revokedKey(topics.context, event)).catch((error: unknown) =>
        events.emit('error', { feature: 'sse', name: 'revoked', error }),
      )
    })
  }

  /** @param subjects see `subjectsOf` */
  add(subjects: readonly string[], stream: EventStream): void {
    for (const each of subjects)
      this.#streams.set(each, (this.#streams.get(each) ?? new Set()).add(stream))
  }

  remove(subjects: readonly string[], stream: EventStream): void {
    for (const each of subjects) {
      const streams = this.#streams.get(each)
      streams?.delete(stream)
      if (streams?.size === 0) this.#streams.delete(each)
    }
  }

  /** Ends the streams of a user, a session or an API key: in this process at once. @throws TP_UNAVAILABLE if others may not know */
  async end(subject: string): Promise<void> {
    this.#end(subject)
    await this.#topics.publish(this.#control, encodeData(subject, 'sse().end()'))
  }

  #receive({ json }: Message): void {
    // Anyone with access to Redis can publish. What is no subject's key ends nothing.
    if (json.startsWith('"') && json.endsWith('"')) this.#end(json.slice(1, -1))
  }

  #end(subject: string): void {
    for (const stream of this.#streams.get(subject) ?? []) stream.end()
  }

  #endAll(): void {
    for (const subject of this.#streams.keys()) this.#end(subject)
  }
}
