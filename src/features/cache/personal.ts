/** Does a request belong to somebody? */

/** What sessions, passport and Koa's authentication middlewares leave on a request. */
interface Owned {
  session?: object | null
  user?: unknown
  state?: { user?: unknown }
}

/** Is there a user, or a session that holds anything but its cookie? */
export function isPersonal(native: unknown): boolean {
  const { session, user, state } = native as Owned
  if (user || state?.user) return true
  return (
    typeof session === 'object' &&
    session !== null &&
    Object.keys(session).some((name) => name !== 'cookie')
  )
}
