import { operation, type Operation } from '../../store/store.ts'

/** What is under a session's key: Redis's word for its type, `none` where there is nothing. */
export const kind: Operation<string> = operation({
  name: 'session.kind',
  command: 'TYPE',
  memory: (database, [session]) => (database.get(session!) === undefined ? 'none' : 'string'),
})
