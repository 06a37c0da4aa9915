/** The open streams by their users, so that a process can end them for all. */
import type { ExtensionContext } from '../../../extension.ts'
import { passedSubjectTag } from '../../../store/subject.ts'
import type { FeedSettings } from '../channels/feed.ts'
import type { Message } from '../channels/message.ts'
import { encodeData, type Topics } from '../channels/topics.ts'
import type { EventStream } from './event-stream.ts'

/** How long it is known whose streams were ended, in ms. A connection is not lost for longer as a rule. */
const CONTROL_TTL = 600_000

/** Returns the open streams of an instance by their users. */
export const userStreams = (topics: Topics): UserStreams =>
  topics.context.once('userStreams', () => new UserStreams(topics))

/** Returns the key of a user's places. @throws TP_KEY for what names no user */
export function userKey(
  { keys }: ExtensionContext,
  user: string | number,
  tenant: string | undefined,
  where: string,
): string {
  return keys.key('streams', passedSubjectTag(keys, user, tenant, where, false))
}

export class UserStreams {
  readonly #topics: Topics
  readonly #control: FeedSettings
  /** By the key of the user's places. */
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
        // Who was logged out meanwhile is not known. Whoever may still read connects again.
        onGap: () => this.#endAll(),
        onEnd: () => {},
      },
      undefined,
    )
  }

  add(user: string, stream: EventStream): void {
    this.#streams.set(user, (this.#streams.get(user) ?? new Set()).add(stream))
  }

  remove(user: string, stream: EventStream): void {
    const streams = this.#streams.get(user)
    streams?.delete(stream)
    if (streams?.size === 0) this.#streams.delete(user)
  }

  /** Ends the streams of a user: in this process at once. @throws TP_UNAVAILABLE if others may not know */
  async end(user: string): Promise<void> {
    this.#end(user)
    await this.#topics.publish(this.#control, encodeData(user, 'sse().end()'))
  }

  #receive({ json }: Message): void {
    // Anyone with access to Redis can publish. What is no user's key ends nothing.
    if (json.startsWith('"') && json.endsWith('"')) this.#end(json.slice(1, -1))
  }

  #end(user: string): void {
    for (const stream of this.#streams.get(user) ?? []) stream.end()
  }

  #endAll(): void {
    for (const user of this.#streams.keys()) this.#end(user)
  }
}
