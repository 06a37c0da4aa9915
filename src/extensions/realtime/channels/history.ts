/** What is read of a topic's history, and whether it follows what a process knows. */
import { BEFORE_ALL, isBetween, isMessageId, isSameRun, timeOf, type Message } from './message.ts'

/** Messages that one read returns at most. */
export const PAGE_LENGTH = 100
/** Bytes that one read returns at most, besides the last message. */
export const PAGE_BYTES = 262_144

/** A part of a history. */
export interface HistoryPage {
  /** ID of the latest message; '' without a history. */
  readonly last: string
  /** A position before any message that is published from now on. */
  readonly now: string
  readonly messages: readonly Message[]
}

/** Reads a reply of `readHistory`. What a stranger has written into the history is left out. */
export function parsePage(reply: readonly string[]): HistoryPage {
  const [last = '', now = BEFORE_ALL] = reply
  const messages: Message[] = []
  for (let i = 2; i + 2 < reply.length; i += 3)
    messages.push({ id: reply[i]!, previous: reply[i + 1]!, json: reply[i + 2]! })
  return { last, now, messages: messages.filter(({ id }) => isMessageId(id)) }
}

/** Returns true if more messages follow a page. */
export const isFull = ({ last, messages }: HistoryPage): boolean =>
  messages.length > 0 && messages.at(-1)!.id !== last

/** Returns the position after a page. */
export const positionAfter = ({ last, now, messages }: HistoryPage): string =>
  messages.at(-1)?.id ?? (last || now)

/** What is known of the time between a position and a page. */
export interface Circumstances {
  /** Time that a history is kept after its last message, in ms. */
  readonly ttl: number
  /** True if every message since the position has arrived over a subscription. */
  readonly isContinuous: boolean
  /** The time, in ms since the epoch. */
  readonly now: number
}

/** Returns true if messages may be missing between a position and the page that was read after it. */
export function isGap(
  { last, now: current, messages }: HistoryPage,
  position: string,
  { ttl, isContinuous, now }: Circumstances,
): boolean {
  const [first] = messages
  if (first === undefined ? last === position : first.previous === position) return false
  const isNewHistory = first === undefined ? last === '' : first.previous === BEFORE_ALL
  if (!isNewHistory) return true
  if (position === BEFORE_ALL) return false
  const since = timeOf(position)
  // A history between the two would not have expired yet, and no restart has lost it.
  if (isBetween(position) && isSameRun(position, current))
    if ((first === undefined ? now : timeOf(first.id)) - since < ttl) return false
  const hasExpired = isBetween(position) || since + ttl <= now
  return !(isContinuous && hasExpired)
}
