/** `guard()`: a middleware that uses the one-time token of a request up. */
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import type { Exchange, Feature, Plan } from '../../../http/exchange.ts'
import { unavailableRefusal, type Refusal } from '../../../http/refusal.ts'
import { networkOf } from '../address.ts'
import { tagOfSubject } from '../subjects.ts'
import type { ConsumeOutcome, OneTimeEngine } from './engine.ts'
import type { OneTimeToken, TokenGuardOptions } from './options.ts'

/** Identities of clients are bounded. */
const MAX_SUBJECT = 256

const GET_WARNING =
  'A guard of one-time tokens answered a GET request. Mail scanners open links, which uses the token up: let the link lead to a page that asks for confirmation (peek), and mount the guard on POST.'

/** What a guard leaves on a request. Several guards may stand on one. */
export const acceptedToken: unique symbol = Symbol('turnpike.oneTimeToken')
export type WithAcceptedToken = { [acceptedToken]?: Map<OneTimeEngine, OneTimeToken> }

export function tokenGuardFeature<Native>(
  context: ExtensionContext<Native>,
  engine: OneTimeEngine,
  { subject, code, reply }: TokenGuardOptions<Native>,
): Feature<Native, never> {
  const where = 'oneTimeTokens().guard()'

  async function handle(x: Exchange<Native>): Promise<Plan> {
    const [named, sent, tenant] = await Promise.all([
      subject === undefined ? null : subject(x.native),
      code(x.native),
      context.tenantOf(x.native),
    ])
    if (x.method === 'GET' || x.method === 'HEAD') context.events.warn(GET_WARNING)
    if (subject !== undefined && !isSubject(named)) return refuse(MALFORMED)
    const caller = { tenant, address: networkOf(x), budget: x.budget }
    try {
      return planOf(x, await engine.consume(named, sent, false, caller, where))
    } catch (error) {
      if (!isUnavailable(error)) throw error
      const { reason, uncertain } = error
      const { purpose: name } = engine.settings
      const event = { feature: 'oneTimeTokens', name, reason, uncertain, rule: 'closed' }
      context.events.emit('unavailable', event)
      return refuse(unavailableRefusal('The code could not be checked. Try again shortly.'))
    }
  }

  function planOf(x: Exchange<Native>, outcome: ConsumeOutcome): Plan {
    if (outcome.kind === 'malformed') return refuse(MALFORMED)
    if (outcome.kind === 'wrong') return refuse(WRONG)
    if (outcome.kind === 'limited') return refuse(limited(outcome.retryAfterMs))
    const native = x.native as WithAcceptedToken
    native[acceptedToken] ??= new Map()
    native[acceptedToken].set(engine, outcome.token)
    return { state: { oneTimeToken: outcome.token } }
  }

  const refuse = (refusal: Refusal): Plan => ({ refusal, replyWith: reply })

  return { name: 'oneTimeToken', onBackground: 'skip', handle }
}

/** What a client sent may be anything. */
const isSubject = (value: unknown): boolean =>
  tagOfSubject(value) !== undefined && String(value).length <= MAX_SUBJECT

const MALFORMED: Refusal = {
  status: 400,
  code: 'TP_TOKEN_INVALID',
  detail: 'The code is missing or incomplete. Check what was entered.',
}

/** The same for a token that is wrong, used, expired or void, and for one that was never issued. */
export const WRONG: Refusal = {
  status: 410,
  code: 'TP_TOKEN_INVALID',
  detail: 'The code is wrong or no longer valid. Ask for a new one.',
}

const limited = (retryAfterMs: number): Refusal => ({
  status: 429,
  code: 'TP_LIMITED',
  detail: 'Too many codes from this address were wrong.',
  retryAfterMs,
})
