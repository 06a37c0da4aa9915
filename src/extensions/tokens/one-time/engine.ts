/** One-time tokens without HTTP: subjects and codes in, outcomes out. */
import { createHash, createHmac } from 'node:crypto'
import type { TokenEvent } from '../../../event-types.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { RequestBudget } from '../../../request-budget.ts'
import type { KeyValue } from '../../../store/subject.ts'
import type { CodeFormat } from '../code-format.ts'
import { openJson, sealJson } from '../json.ts'
import { requireTag, tagOfSubject } from '../subjects.ts'
import { admitAddress, consumeToken, issueToken, revokeIssued } from './operations.ts'
import type { OneTimeToken } from './options.ts'
import type { Patience } from './record.ts'

/** Settings of one purpose; times in ms. */
export interface OneTimeSettings extends Patience {
  readonly purpose: string
  readonly format: CodeFormat
  readonly ttl: number
  readonly peppers: readonly string[]
  readonly addressLimit: number
  readonly addressWindow: number
}

/** Tenant of the token, and network of the client. */
export interface Caller {
  readonly tenant: string | undefined
  /** Network of the client. Undefined: it is not counted. */
  readonly address?: string | undefined
  readonly budget?: RequestBudget | undefined
}

export type IssueOutcome =
  | { readonly kind: 'issued'; readonly code: string }
  | { readonly kind: 'limited'; readonly retryAfterMs: number }

export type ConsumeOutcome =
  | { readonly kind: 'right'; readonly token: OneTimeToken }
  /** True for a string that cannot be a token. */
  | { readonly kind: 'malformed' }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'limited'; readonly retryAfterMs: number }

export class OneTimeEngine {
  readonly settings: OneTimeSettings
  readonly #context: ExtensionContext

  constructor(context: ExtensionContext, settings: OneTimeSettings) {
    this.#context = context
    this.settings = settings
  }

  /** @param data as JSON. @throws TP_KEY, TP_UNAVAILABLE */
  async issue(
    subject: NonNullable<KeyValue>,
    data: string,
    caller: Caller,
    where: string,
  ): Promise<IssueOutcome> {
    const { format, ttl, attempts, cooldown, maxCooldown, peppers } = this.settings
    const tag = requireTag(subject, where)
    const began = this.#context.events.begin('token')
    const wait = await this.#admit('issue', caller)
    if (wait > 0) return this.#tell('limited', tag, { kind: 'limited', retryAfterMs: wait }, began)
    const code = format.create(tag)
    // A long token names its subject, so that is stored beside it. A code's subject may be an e-mail address.
    const named = format.isGuessable ? 'null' : JSON.stringify(subject)
    const retryAfterMs = await this.#context.store.run(
      issueToken,
      [this.#key(tag, caller)],
      [
        this.#digest(tag, code, caller, peppers[0]),
        sealJson(`[${named},${data}]`),
        ttl,
        attempts,
        cooldown,
        maxCooldown,
      ],
      caller.budget,
    )
    if (retryAfterMs === 0) return this.#tell('issued', tag, { kind: 'issued', code }, began)
    // Nothing will be sent: the address has used nothing.
    this.#giveBack('issue', caller)
    return this.#tell('limited', tag, { kind: 'limited', retryAfterMs }, began)
  }

  /**
   * Compares a token, and uses it up.
   * @param stays does not use it up
   * @throws TP_KEY, TP_UNAVAILABLE
   */
  async consume(
    subject: KeyValue,
    given: unknown,
    stays: boolean,
    caller: Caller,
    where: string,
  ): Promise<ConsumeOutcome> {
    const { format, attempts, cooldown, maxCooldown, peppers } = this.settings
    const code = format.read(given)
    const isNamed = subject === null && !format.isGuessable
    const tag = isNamed
      ? code === undefined
        ? undefined
        : format.tagOf(code)
      : requireTag(subject, where)
    if (code === undefined || tag === undefined) return { kind: 'malformed' }
    const began = this.#context.events.begin('token')
    const wait = format.isGuessable ? await this.#admit('guess', caller) : 0
    if (wait > 0) return this.#tell('limited', tag, { kind: 'limited', retryAfterMs: wait }, began)
    const secrets = peppers.length === 0 ? [undefined] : peppers
    const reply = await this.#context.store.run(
      consumeToken,
      [this.#key(tag, caller)],
      [
        stays ? '1' : '0',
        attempts,
        cooldown,
        maxCooldown,
        ...secrets.map((pepper) => this.#digest(tag, code, caller, pepper)),
      ],
      caller.budget,
    )
    const token = reply[0] === 1 ? tokenOf(reply[2], subject, tag, reply[1]) : undefined
    if (token === undefined)
      return this.#tell(reply[1] === 1 ? 'burned' : 'refused', tag, { kind: 'wrong' }, began)
    if (format.isGuessable) this.#giveBack('guess', caller)
    return this.#tell(stays ? 'seen' : 'consumed', tag, { kind: 'right', token }, began)
  }

  /** @throws TP_KEY, TP_UNAVAILABLE */
  async revoke(subject: KeyValue, caller: Caller, where: string): Promise<boolean> {
    const tag = requireTag(subject, where)
    const began = this.#context.events.begin('token')
    const count = await this.#context.store.run(revokeIssued, [this.#key(tag, caller)], [])
    return this.#tell('revoked', tag, count === 1, began)
  }

  /** Returns how long an address has to wait, in ms. */
  async #admit(what: 'issue' | 'guess', caller: Caller): Promise<number> {
    if (caller.address === undefined) return 0
    const { addressLimit, addressWindow } = this.settings
    const use = Math.floor(addressWindow / addressLimit)
    const key = this.#addressKey(what, caller.address, caller)
    return await this.#context.store.run(admitAddress, [key], [addressWindow, use], caller.budget)
  }

  #giveBack(what: 'issue' | 'guess', caller: Caller): void {
    if (caller.address === undefined) return
    const { addressLimit, addressWindow, purpose: name } = this.settings
    const use = -Math.floor(addressWindow / addressLimit)
    const { store, events } = this.#context
    const key = this.#addressKey(what, caller.address, caller)
    store
      .run(admitAddress, [key], [addressWindow, use])
      .catch((error: unknown) => events.emit('error', { feature: 'oneTimeTokens', name, error }))
  }

  /** The purpose and the tenant are part of it: a code is worth nothing elsewhere. */
  #digest(tag: string, code: string, { tenant }: Caller, pepper: string | undefined): string {
    const hash = pepper === undefined ? createHash('sha256') : createHmac('sha256', pepper)
    const text = JSON.stringify([this.settings.purpose, tenant ?? null, tag, code])
    return hash.update(text).digest('base64url')
  }

  #key(tag: string, { tenant }: Caller): string {
    const { keys } = this.#context
    return keys.key('once', keys.tag([this.settings.purpose, tag], tenant))
  }

  #addressKey(what: string, address: string, { tenant }: Caller): string {
    const { keys } = this.#context
    return keys.key('once-address', keys.tag([this.settings.purpose, address], tenant), what)
  }

  /** @param began what `events.begin()` returned before the store was asked */
  #tell<Outcome>(
    type: TokenEvent['type'],
    subject: string,
    outcome: Outcome,
    began: number | undefined,
  ): Outcome {
    const { events } = this.#context
    if (events.hasListeners('token'))
      events.emit('token', {
        feature: 'oneTimeTokens',
        name: this.settings.purpose,
        type,
        subject,
        user: undefined,
        family: undefined,
        ms: events.since(began),
      })
    return outcome
  }
}

/** Returns undefined for what was changed in Redis: it must not turn a token into that of another user. */
function tokenOf(
  payload: string,
  given: KeyValue,
  tag: string,
  expiresInMs: number,
): OneTimeToken | undefined {
  const parsed = openJson(payload)
  if (!Array.isArray(parsed) || parsed.length !== 2) return undefined
  const [named, data] = parsed as [KeyValue, unknown]
  const subject = given ?? named
  return tagOfSubject(subject) === tag ? { subject, data, expiresInMs } : undefined
}
