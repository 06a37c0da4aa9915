/** Moves a session to another ID, and ends one that another took the place of. */
import type { RequestBudget } from '../../request-budget.ts'
import type { SessionEngine } from './engine.ts'
import type { StoredSession } from './record.ts'
import { conflictError } from './session-errors.ts'
import type { SessionKeys } from './session-id.ts'
import type { LoadedSession, Predecessor, SessionChange } from './session-storage.ts'

/** How a session moves. */
export interface SessionMove {
  readonly from: SessionKeys
  /** The session as the request had read it. */
  readonly stored: StoredSession
  readonly to: SessionKeys
  readonly change: SessionChange
  /** ms for which a request with the old ID continues with the new one. 0: the old ID is dead at once. */
  readonly follow: number
  /** True if the session becomes an additional one of its user. */
  readonly isAdditional: boolean
}

const MAX_ATTEMPTS = 8

/**
 * Moves a session. Requests that move one session at once agree on one successor. Undefined if the
 * session no longer exists.
 * @throws TP_SESSION_CONFLICT, TP_SESSION_LIMIT, TP_SESSION_SIZE, TP_UNAVAILABLE
 */
export async function moveSession(
  engine: SessionEngine,
  move: SessionMove,
  budget?: RequestBudget,
): Promise<LoadedSession | undefined> {
  const { from, stored, to, change, follow, isAdditional } = move
  let [base, wanted] = [stored, change]
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    // The successor exists before the old ID leads to it. Otherwise a failure in between loses the session.
    const predecessor: Predecessor = { continues: base, isAdditional }
    const created = await engine.create(to, wanted, predecessor, budget)
    if (!created) return undefined
    const result =
      follow > 0 && base.form === 'turnpike'
        ? await engine.storage.records.replace(
            from,
            base,
            { successor: to, follow: true, life: follow },
            budget,
          )
        : await engine.storage.remove(from, base, budget)
    if (result === 'removed') return { keys: to, stored: created, data: wanted.data }
    await engine.destroy(to, budget)
    if (result === 'gone') return undefined
    if (result.conflict.meta.successor) return await joinMoved(engine, move, budget)
    base = result.conflict
    wanted = engine.resolve(from, stored, change, wanted, base)
  }
  throw conflictError()
}

/** Another request has moved the session first. Stores what this one has changed in its successor. */
async function joinMoved(
  engine: SessionEngine,
  { from, stored, change }: SessionMove,
  budget: RequestBudget | undefined,
): Promise<LoadedSession | undefined> {
  const moved = await engine.load(from, budget)
  if (!moved || change.text === stored.data) return moved
  // A version that no record has makes the update merge.
  const base: StoredSession = { ...moved.stored, data: stored.data, version: '------' }
  return await engine.update(moved.keys, base, { ...change, meta: moved.stored.meta }, budget)
}

/**
 * Ends an anonymous session after a login. During the grace period requests in progress can still read
 * it, as long as its successor lives.
 */
export async function retireSession(
  engine: SessionEngine,
  keys: SessionKeys,
  stored: StoredSession,
  successor: SessionKeys,
  grace: number,
): Promise<void> {
  const result =
    grace > 0 && stored.form === 'turnpike'
      ? await engine.storage.records.replace(keys, stored, {
          successor,
          follow: false,
          life: grace,
        })
      : 'gone'
  if (result !== 'removed') await engine.destroy(keys)
}

/**
 * Ends all sessions that a request names. A login or logout that ended only one of them would leave
 * two cookies with valid signatures in the browser, and neither could be believed.
 */
export const endSessions = (
  engine: SessionEngine,
  named: readonly { readonly keys: SessionKeys }[],
  budget?: RequestBudget,
): Promise<unknown> => Promise.all(named.map(({ keys }) => engine.destroy(keys, budget)))
