/** The ID of an event: a position in each topic of its stream. */
import { createHash } from 'node:crypto'
import type { Exchange } from '../../../http/exchange.ts'
import { isMessageId } from '../channels/message.ts'

/** Topics of a stream. More make its IDs too long for a header field. */
export const MAX_TOPICS = 50
const MAX_LENGTH = 4096
/** Of a topic's digest: the topics of one stream differ in it. */
const DIGEST_LENGTH = 10

/** Returns the name of a topic in the IDs of events. */
export const topicDigest = (topic: string): string =>
  createHash('sha256').update(topic).digest('hex').slice(0, DIGEST_LENGTH)

/** Returns positions by the digests of their topics as the ID of an event. */
export const writePositions = (positions: ReadonlyMap<string, string>): string =>
  Array.from(positions, ([digest, id]) => `${digest}.${id}`).join('~')

/** Reads the ID of an event. What a client has made up, and cannot be read, is left out. */
export function readPositions(id: string | undefined): Map<string, string> {
  const positions = new Map<string, string>()
  if (id === undefined || id.length > MAX_LENGTH) return positions
  for (const part of id.split('~').slice(0, MAX_TOPICS)) {
    const dot = part.indexOf('.')
    const position = part.slice(dot + 1)
    if (dot === DIGEST_LENGTH && isMessageId(position)) positions.set(part.slice(0, dot), position)
  }
  return positions
}

/** Returns the ID of the last event that the client has seen. Polyfills send it in the query. */
export function lastEventId(x: Exchange): string | undefined {
  const sent = x.header('last-event-id')
  if (sent !== undefined) return sent
  const query = x.url.indexOf('?')
  return query < 0
    ? undefined
    : (new URLSearchParams(x.url.slice(query)).get('lastEventId') ?? undefined)
}
