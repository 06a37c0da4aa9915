/** A session's ID in a header field, for API clients that keep no cookies. */
import type { Exchange, HeaderFields } from '../../http/exchange.ts'
import type { RequestSession } from './request-session.ts'
import type { CookieSettings } from './session-cookie.ts'
import type { NamedSession, SignedIds } from './signed-ids.ts'
import { distinct, MAX_VALUES, type SessionTransport } from './transport.ts'

export class HeaderTransport<Native> implements SessionTransport<Native> {
  readonly #ids: SignedIds
  /** The field's name in lower case. */
  readonly #name: string

  constructor(ids: SignedIds, name: string) {
    this.#ids = ids
    this.#name = name.toLowerCase()
  }

  read(
    x: Exchange<Native>,
    _settings: CookieSettings,
    tenant: string | undefined,
  ): readonly NamedSession[] {
    // node joins repeated fields with a comma, which no signed ID contains.
    const values = x.header(this.#name)?.split(',', MAX_VALUES) ?? []
    return distinct(values, (value) => this.#ids.verify(value.trim(), this.#name, tenant))
  }

  write(_x: Exchange<Native>, _settings: CookieSettings, session: RequestSession): HeaderFields {
    const notice = session.notice()
    if (notice === undefined) return { Vary: this.#name }
    const value =
      notice.id === undefined ? '' : encodeURIComponent(this.#ids.sign(notice, this.#name))
    // Caches do not know that this field is a credential.
    return { [this.#name]: value, Vary: this.#name, 'Cache-Control': 'no-store' }
  }
}
