/** Recognises deploys in the wrong order: sessions that another server's configuration made unusable here. */
import type { ExtensionContext } from '../../extension.ts'
import { loadSessions } from './operations/load.ts'
import type { Secret, SessionKeys } from './session-id.ts'
import { UnreadableRecord, type UnreadableReason } from './session-storage.ts'
import { parseSigned, verifyId } from './signature.ts'

/** An unverified cookie is examined at most this often. A client can send any number of them. */
const INTERVAL_MS = 60_000
const DEPLOYING = 'See docs/deploying.md.'

const UNREADABLE: Record<UnreadableReason, string> = {
  'no-key': `tp.session(): a stored session is encrypted, and there is no \`encrypt\`, so its user is logged out. To switch encryption off, first set plaintext: 'write' and rewrite: true. ${DEPLOYING}`,
  'wrong-key': `tp.session(): a stored session cannot be decrypted with any key of \`encrypt\`, so its user is logged out. A new key is first added at the end of the list on every server. ${DEPLOYING}`,
  plaintext: `tp.session(): a stored session is plaintext, which \`encrypt\` refuses, so its user is logged out. To switch encryption on, first set plaintext: 'write', then plaintext: 'read'. ${DEPLOYING}`,
}

export class DeployDiagnosis {
  readonly #context: ExtensionContext
  readonly #secrets: readonly Secret[]
  #examinedAt = -Infinity

  constructor(context: ExtensionContext, secrets: readonly Secret[]) {
    this.#context = context
    this.#secrets = secrets
  }

  /** A stored session cannot be read. */
  onUnreadable(error: unknown): void {
    const { cause } = error as { cause?: unknown }
    if (cause instanceof UnreadableRecord) this.#context.events.warn(UNREADABLE[cause.reason])
  }

  /** A cookie of the mount's name has no valid signature. */
  onUnverified(value: string, name: string, keysOf: (id: string) => SessionKeys): void {
    const now = this.#context.store.monotonic()
    if (now - this.#examinedAt < INTERVAL_MS) return
    const signed = parseSigned(value)
    if (!signed) return
    this.#examinedAt = now
    if (verifyId(value, name, this.#secrets, ['express'])) {
      this.#context.events.warn(
        `tp.session(): express-session signed the cookie ${name}, which is not accepted, so its user is logged out. To take over its sessions, set legacyPrefix: 'sess:'. If they are in tp.sessionStore(), set legacySignature: 'read'. ${DEPLOYING}`,
      )
      return
    }
    const { store, events } = this.#context
    const keys = keysOf(signed.id)
    store.run(loadSessions, [keys.session, keys.revokeBefore], []).then(
      ([text]) => {
        if (typeof text === 'string')
          events.warn(
            `tp.session(): none of the secrets has signed the cookie ${name}, but its session exists, so its user is logged out. A new secret is first added at the end of the list on every server. ${DEPLOYING}`,
          )
      },
      // It was only a diagnosis.
      () => {},
    )
  }

  /** A request over HTTPS has a valid cookie without the `__Host-` prefix, and none with it. */
  onPlainCookie(): void {
    this.#context.events.warn(
      `tp.session(): a request over HTTPS has a valid cookie sid, but no __Host-sid, so its user is logged out. If the proxy's settings, or the domain or path of the cookie, have just changed, set name: ['__Host-sid', 'sid'] until all sessions have moved. ${DEPLOYING}`,
    )
  }
}
