/** Reports which sessions the application has ended: their event streams end, too. */
import type { EventBus } from '../../events.ts'
import { handleOf, type SessionKeys } from './session-id.ts'

/** What reports need of a context. */
interface Reporter {
  readonly events: EventBus
}

/** Reports that the application has ended a session. */
export function reportRevokedSession({ events }: Reporter, keys: SessionKeys): void {
  events.emit('revoked', { type: 'session', subject: handleOf(keys), tenant: keys.tenant })
}

/** Reports that the application has ended all sessions of a user. */
export function reportRevokedUser(
  { events }: Reporter,
  user: string,
  tenant: string | undefined,
): void {
  events.emit('revoked', { type: 'user', subject: user, tenant })
}
