/** Signs the IDs of one mount's sessions, and verifies those that requests bring. */
import type { SessionEngine } from './engine.ts'
import { RecentlyUsed } from './recently-used.ts'
import type { SessionKeys } from './session-id.ts'
import { signId, verifyId, type SignatureForm } from './signature.ts'

/** A session that a request names by a signed ID. */
export interface NamedSession {
  readonly keys: SessionKeys
  /** How the ID is signed. */
  readonly form: SignatureForm
  /** True if the ID has to be sent again: an older secret signed it, or it came under an older name. */
  readonly isOutdated: boolean
}

/** What a response has to tell the client about its session. */
export interface SessionNotice {
  /** Undefined: the client is to forget its session. */
  readonly id: string | undefined
  /** How the client's ID was signed. Undefined for an ID that the client does not know yet. */
  readonly form: SignatureForm | undefined
}

/** A value that was verified, and for what. */
interface VerifiedValue {
  readonly name: string
  readonly tenant: string | undefined
  readonly session: NamedSession
}

/** Number of verified values that are remembered: at least this many, at most twice as many. */
const REMEMBERED = 5_000

/** How the mount treats signatures of express-session's form. */
export type LegacySignature = 'refuse' | 'read' | 'write'

export class SignedIds {
  readonly #engine: SessionEngine
  readonly #accepted: readonly SignatureForm[]
  /** The form of IDs that the client does not know yet. */
  readonly #form: SignatureForm
  readonly #verified = new RecentlyUsed<VerifiedValue>(REMEMBERED)

  constructor(engine: SessionEngine, legacySignature: LegacySignature) {
    this.#engine = engine
    this.#accepted = legacySignature === 'refuse' ? ['named'] : ['named', 'express']
    this.#form = legacySignature === 'write' ? 'express' : 'named'
  }

  /**
   * Returns the session that a signed value names. Undefined if no secret has signed it.
   * @param raw the value as it was sent
   * @param name the cookie or header field that it came in
   */
  verify(raw: string, name: string, tenant: string | undefined): NamedSession | undefined {
    const known = this.#verified.get(raw)
    // A signature is valid for one name, and the keys are of one tenant.
    if (known?.name === name && known.tenant === tenant) return known.session
    const value = decode(raw)
    const { secrets, rewrite } = this.#engine.options
    const found = verifyId(value, name, secrets, this.#accepted)
    if (!found) {
      const keysOf = (id: string): SessionKeys => this.#engine.keysOf(id, tenant)
      this.#engine.diagnosis.onUnverified(value, name, keysOf)
      return undefined
    }
    const { id, secret, form } = found
    const session: NamedSession = {
      keys: this.#engine.keysOf(id, tenant),
      form,
      isOutdated: secret > 0 || (rewrite && form !== this.#form),
    }
    this.#remember(raw, { name, tenant, session })
    return session
  }

  #remember(raw: string, verified: VerifiedValue): void {
    // A copy: a part of the Cookie field would keep the whole field in memory.
    const copy = Buffer.from(raw, 'latin1').toString('latin1')
    // Characters that no field has are lost. What is not the value itself was not verified.
    if (copy === raw) this.#verified.set(copy, verified)
  }

  /** Returns the value to send. The signature keeps the form in which the client sent it. */
  sign({ id = '', form }: SessionNotice, name: string): string {
    const { secrets, rewrite } = this.#engine.options
    const kept = rewrite || form === undefined ? this.#form : form
    return signId(id, secrets[0]!, name, kept)
  }
}

/** Decodes a value that a proxy or client may have encoded in part, or in another case (RFC 3986, 2.1). */
function decode(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
