/** A message of a topic, as it is stored and published. */

/** What a process gets of a message. */
export interface Message {
  /** ID of the message: milliseconds and a sequence number, as in Redis streams. '' without a history. */
  readonly id: string
  /** ID of the message before it in the topic; `'0-0'` for the first of a history. */
  readonly previous: string
  /** The data as JSON. Anyone with access to Redis can publish: it may be any string. */
  readonly json: string
}

/** ID before the first message of a history. */
export const BEFORE_ALL = '0-0'

const ID = /^\d{1,16}-\d{1,16}$/

/** Returns true for the ID of a message, or a position between messages. */
export const isMessageId = (value: unknown): value is string =>
  typeof value === 'string' && ID.test(value)

/** Returns a negative number if `a` is before `b`, 0 if they are equal. */
export function compareIds(a: string, b: string): number {
  return timeOf(a) - timeOf(b) || sequenceOf(a) - sequenceOf(b)
}

/** A position that is no message's ID has the run of the server as its sequence number, from here on. */
export const FIRST_RUN = 10_000

const sequenceOf = (id: string): number => Number(id.slice(id.indexOf('-') + 1))

/** Returns true for a position that is no message's ID: there was no history. */
export const isBetween = (position: string): boolean => sequenceOf(position) >= FIRST_RUN

/** Returns true if two positions without a message are of one run of the server. */
export const isSameRun = (a: string, b: string): boolean => sequenceOf(a) === sequenceOf(b)

/** Returns the time of a message, in ms since the epoch. */
export const timeOf = (id: string): number => Number(id.slice(0, id.indexOf('-')))

/** Reads a published message. Undefined for a string that is none. */
export function parseMessage(published: string): Message | undefined {
  const first = published.indexOf(' ')
  const second = published.indexOf(' ', first + 1)
  if (first < 0 || second < 0) return undefined
  const [id, previous] = [published.slice(0, first), published.slice(first + 1, second)]
  const isStored = isMessageId(id) && isMessageId(previous)
  if (!isStored && (id !== '' || previous !== '')) return undefined
  return { id, previous, json: published.slice(second + 1) }
}
