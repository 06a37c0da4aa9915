/** Tells all processes which sessions have changed. This process knows it before Redis does. */
import type { ExtensionContext } from '../../extension.ts'
import type { KeySpace } from '../../store/keys.ts'

/** Returns the changes of a context, one for each. */
export const sessionChangesOf = (
  context: Pick<ExtensionContext, 'keys' | 'once'>,
): SessionChanges => context.once('session-changes', () => new SessionChanges(context.keys))

/** Copies of sessions in this process. */
interface SessionCopies {
  /** @param key of a session, or of an index */
  drop(key: string): void
}

export class SessionChanges {
  /** Every change is published here. See `keyOf`. */
  readonly channel: string
  readonly #sessions: string
  readonly #indexes: string
  readonly #near: SessionCopies[] = []

  constructor(keys: KeySpace) {
    this.channel = keys.channel('session', 'near')
    this.#sessions = keys.key('session', '').slice(0, -'{}'.length)
    this.#indexes = keys.key('sessions', '').slice(0, -'{}'.length)
  }

  /** Returns the key that a message means: of a session, or of the index of a user whose sessions were revoked. */
  keyOf(message: string): string {
    return (message.endsWith('}') ? this.#indexes : this.#sessions) + message
  }

  add(near: SessionCopies): void {
    this.#near.push(near)
  }

  /** Drops the copies of a session, or of all sessions of an index. */
  drop(key: string): void {
    for (const near of this.#near) near.drop(key)
  }

  /** Writes a session. Its copies go before and after that: a load during the write may find the old version. */
  during<Result>(key: string, write: () => Promise<Result>): Promise<Result> {
    if (this.#near.length === 0) return write()
    this.drop(key)
    return write().finally(() => this.drop(key))
  }
}
