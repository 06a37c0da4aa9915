/** `apiKeys()` and `keys.require()` as features: a request in, a plan out. */
import { isUnavailable } from '../../../errors.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../../http/exchange.ts'
import { andThen } from '../../../http/promises.ts'
import { unavailableRefusal, type Refusal, type ReplyFunction } from '../../../http/refusal.ts'
import { isPermitted } from '../../../permissions.ts'
import { networkOf } from '../address.ts'
import type { CredentialReader } from './credentials.ts'
import type { ApiKeyEngine, KeyOutcome } from './engine.ts'

export interface ApiKeyFeatureOptions<Native> {
  readonly credentials: CredentialReader
  readonly required: boolean
  readonly acrossTenants: boolean
  readonly reply: ReplyFunction<Native> | undefined
}

export function apiKeyFeature<Native>(
  context: ExtensionContext<Native>,
  engine: ApiKeyEngine,
  { credentials, required, acrossTenants, reply }: ApiKeyFeatureOptions<Native>,
): Feature<Native, Promise<string>> {
  const hasTenants = context.hasTenants && !acrossTenants
  const refuse = (refusal: Refusal): Plan => ({ refusal, replyWith: reply })

  function handle(x: Exchange<Native>, early?: Promise<string>): Plan | Promise<Plan> {
    const sent = credentials.read(x)
    if (sent.kind === 'none') return required ? refuse(missing(credentials)) : passThrough
    if (sent.kind === 'invalid') return refuse(invalid(credentials, sent.detail))
    if (!hasTenants) return planOf(x, sent.digest, undefined, early)
    return andThen(context.tenantOf(x.native), (tenant) => planOf(x, sent.digest, tenant))
  }

  function planOf(
    x: Exchange<Native>,
    digest: string,
    tenant: string | undefined,
    early?: Promise<string>,
  ): Plan | Promise<Plan> {
    const recalled = engine.recall(digest, tenant)
    if (recalled !== undefined) return decide(x, recalled)
    const caller = { tenant, early, address: networkOf(x), budget: x.budget }
    return engine.find(digest, caller).then(
      (outcome) => decide(x, outcome),
      (error: unknown) => {
        if (!isUnavailable(error)) throw error
        return refuse(unavailableRefusal('The API key could not be checked. Try again shortly.'))
      },
    )
  }

  function decide(x: Exchange<Native>, outcome: KeyOutcome): Plan {
    if (outcome.kind === 'known') {
      x.identity.verifiedKey = outcome.key
      return { state: { apiKey: outcome.key.record } }
    }
    if (outcome.kind === 'unknown')
      return refuse(invalid(credentials, 'The API key is not valid, or was revoked.'))
    const detail = 'Too many unknown API keys came from this address.'
    return refuse({ status: 429, code: 'TP_LIMITED', detail, retryAfterMs: outcome.retryAfterMs })
  }

  /** Asks Redis along with a pipeline's other members. What it does not know is looked up at our turn. */
  function prepare(x: Exchange<Native>): Promise<string> | undefined {
    const sent = credentials.read(x)
    if (sent.kind !== 'key' || engine.isRemembered(sent.digest, undefined)) return undefined
    return engine.ask(sent.digest, undefined, x.budget)
  }

  return { name: 'apiKeys', handle, ...(!hasTenants && { prepare }) }
}

/** Lets only keys with a permission pass. */
export function requireKeyFeature<Native>(
  engine: ApiKeyEngine,
  permission: string,
  permissionsOf: (record: never) => unknown,
  { credentials, reply }: Pick<ApiKeyFeatureOptions<Native>, 'credentials' | 'reply'>,
): Feature<Native, never> {
  return {
    name: 'requireApiKey',
    handle(x) {
      const key = x.identity.verifiedKey
      if (key?.by !== engine) return { refusal: missing(credentials), replyWith: reply }
      if (isPermitted(permissionsOf(key.record as never), permission)) return passThrough
      const refusal: Refusal = {
        status: 403,
        code: 'TP_FORBIDDEN',
        detail: `The API key does not have the permission '${permission}'.`,
        headers: credentials.challenge(`error="insufficient_scope", scope="${permission}"`),
      }
      return { refusal, replyWith: reply }
    },
  }
}

const missing = (credentials: CredentialReader): Refusal => ({
  status: 401,
  code: 'TP_UNAUTHENTICATED',
  detail: 'This needs an API key.',
  headers: credentials.challenge(),
})

const invalid = (credentials: CredentialReader, detail: string): Refusal => ({
  status: 401,
  code: 'TP_UNAUTHENTICATED',
  detail,
  headers: credentials.challenge('error="invalid_token"'),
})
