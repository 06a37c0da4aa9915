/** How a session's ID travels between client and server. */
import type { Exchange, HeaderFields } from '../../http/exchange.ts'
import type { RequestSession } from './request-session.ts'
import type { NamedSession } from './signed-ids.ts'
import type { CookieSettings } from './session-cookie.ts'

export interface SessionTransport<Native> {
  /** Returns the distinct sessions that a request names: none, one, or several that disagree. */
  read(
    x: Exchange<Native>,
    settings: CookieSettings,
    tenant: string | undefined,
  ): readonly NamedSession[]
  /** Returns the header fields that tell the client about its session, if that is due. */
  write(x: Exchange<Native>, settings: CookieSettings, session: RequestSession): HeaderFields
}

/** Most values of one name that are examined. A client can send any number of them. */
export const MAX_VALUES = 8

export const NO_SESSIONS: readonly NamedSession[] = []

/** Verifies the values of one name. Two values that name one session count once. */
export function distinct(
  values: readonly string[],
  verify: (value: string) => NamedSession | undefined,
): readonly NamedSession[] {
  if (values.length === 0) return NO_SESSIONS
  const all: NamedSession[] = []
  for (const value of values) {
    const named = verify(value)
    if (named && !all.some(({ keys }) => keys.id === named.keys.id)) all.push(named)
  }
  return all
}
