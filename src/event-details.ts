/** What some events tell, each in a type of its own. */

/** The application has ended sessions or an API key. */
export interface Revocation {
  /** One session, all sessions of a user, or an API key. */
  type: 'session' | 'user' | 'api-key'
  /** The session's handle, the user's ID, or the digest of the API key. */
  subject: string
  /** The tenant, in an application that has tenants. */
  tenant: string | undefined
}

/** Redis went away, or is back. */
export interface AvailabilityChange {
  store: string
  type: 'away' | 'back'
  /** Why it is away. */
  reason: string | undefined
  /** How long it was away, in ms; 0 when it goes. */
  awayMs: number
}
