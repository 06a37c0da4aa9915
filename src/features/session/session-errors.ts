/** The errors of sessions. */
import { TurnpikeError } from '../../errors.ts'

/** Creates the error for a stored value that cannot be read. */
export const corruptError = (cause: unknown): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CORRUPT', 'A stored session cannot be read.', { cause })

/** Creates the error for a session that another request has changed, with `onConflict: 'reject'`. */
export const conflictError = (): TurnpikeError =>
  new TurnpikeError('TP_SESSION_CONFLICT', 'Another request has changed the session meanwhile.', {
    status: 409,
  })

/** Creates the error for a session that no longer exists. */
export const goneError = (): TurnpikeError =>
  new TurnpikeError(
    'TP_SESSION_GONE',
    'The session no longer exists: it has expired or was destroyed.',
  )

/** Creates the error for a user who has as many sessions as `maxPerUser` allows. */
export const limitError = (): TurnpikeError =>
  new TurnpikeError('TP_SESSION_LIMIT', 'The user already has the maximum number of sessions.', {
    status: 409,
  })

/** Creates the error for a session that is larger than `maxBytes`. */
export const sizeError = (bytes: number, maxBytes: number): TurnpikeError =>
  new TurnpikeError(
    'TP_SESSION_SIZE',
    `The session has ${bytes} bytes, more than maxBytes (${maxBytes}). The stored value is unchanged.`,
  )

/**
 * Creates the error for a session that cannot be serialized.
 * @param place what cannot be serialized, for example `'session.cart'`
 */
export const unserializableError = (place: string, why: string, cause?: unknown): TurnpikeError =>
  new TurnpikeError(
    'TP_SESSION_SIZE',
    `${place} cannot be serialized: ${why}. The stored value is unchanged. Keep plain data in a session, and the rest elsewhere.`,
    { cause },
  )

/** Creates the error for a login whose cookie can no longer be sent. */
export const headSentError = (): TurnpikeError =>
  new TurnpikeError(
    'TP_OPTION',
    'tp.session.login(): the head of the response has been sent, so the client cannot learn the new session ID. Log in before you write to the response.',
  )
