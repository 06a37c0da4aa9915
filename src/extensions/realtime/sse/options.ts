/** Options and results of `sse()`. */
import type { Duration } from '../../../duration.ts'
import type { ReplyFunction } from '../../../http/refusal.ts'
import type { UserId } from '../../../user-id.ts'
import type { ChannelCallOptions } from '../channels/options.ts'
import type { EventContent } from './frame.ts'

/** Options of `sse()`. */
export interface SseOptions<Native> {
  /**
   * Returns the topics of a request: one, or a list of at most 50. Required. With none, the reply is
   * 204, and an EventSource does not connect again.
   */
  topics: (
    native: Native,
  ) => string | readonly string[] | undefined | Promise<string | readonly string[] | undefined>
  /**
   * Returns true if the request may read a topic. Otherwise it is refused with 403. Set it where
   * clients choose topics. @default every topic that `topics` returns
   */
  authorize?: (native: Native, topic: string) => boolean | Promise<boolean>
  /** Returns the content of an event; undefined sends none. @default the topic and the data, as `{"topic":…,"data":…}` */
  format?: (topic: string, data: any) => EventContent | undefined
  /** Returns the user, for `perUser`. @default `req.session.userId`, `req.user.id`, `ctx.state.user.id` */
  user?: (native: Native) => UserId | undefined | null
  /** Most streams of a user, in all processes. `false`: no limit. @default 20 */
  perUser?: number | false
  /** Most streams of this process, of all mounts and routers. Further requests get 503. @default 10_000 */
  maxStreams?: number
  /** Pause between two comments that keep an idle connection open. @default '15s' */
  heartbeat?: Duration
  /** Time after which a client connects again. @default '2s' */
  retry?: Duration
  /**
   * Longest life of a stream. Then the client connects again, and is authorized again. Keep it
   * shorter than the `ttl` of the history. @default '30m'
   */
  maxAge?: Duration
  /** Most bytes that wait for a client. A slower one is disconnected, and continues where it was. @default 262_144 */
  maxBuffer?: number
  /** Replies to a refused request in your own way. @default application/problem+json */
  reply?: ReplyFunction<Native>
}

/** The event streams of one mount: of `sse()`, or of a router of `inbox()` or `progress()`. */
export interface StreamControl {
  /** Number of open streams of this mount in this process. */
  readonly size: number
  /** Ends all streams of this mount in this process. Call it before `server.close()`, which waits for them. */
  endAll(): void
}

/** What a middleware of `sse()` offers besides. */
export interface SseControl extends StreamControl {
  /**
   * Ends the streams of a user, of all mounts and in all processes. Call it after a logout or a
   * revocation: the clients connect again, and are authorized again.
   *
   * @param user what `user` of `sse()` returns
   * @throws TP_KEY; TP_UNAVAILABLE while Redis is away: only this process has ended them
   */
  end(user: UserId, options?: ChannelCallOptions): Promise<void>
}
