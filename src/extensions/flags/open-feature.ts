/** A provider for the SDK of OpenFeature. It is typed by structure, so that the package needs no import of it. */
import { closestMatch } from '../../validate.ts'
import type { FlagDefaults, Flags, FlagSubject } from './options.ts'

/** What a provider replies to the SDK: `ResolutionDetails`. */
export interface FlagResolution<Value> {
  /** The flag's value. */
  value: Value
  /** `TARGETING_MATCH` where rules are stored, else `DEFAULT`. */
  reason: string
}

/** Attributes of OpenFeature's evaluation context that are used. */
export interface FlagEvaluationContext {
  /** The user. */
  targetingKey?: string
  /** `organisation` and `plan` are used, and others are ignored. */
  [attribute: string]: unknown
}

/** `Provider` of `@openfeature/server-sdk`. */
export interface FlagProvider {
  /** Names the provider: `turnpike`. */
  readonly metadata: { readonly name: string }
  /** The SDK's paradigm. */
  readonly runsOn: 'server'
  /** Reads the rules, for `setProviderAndWait()`. @throws TP_UNAVAILABLE */
  initialize(): Promise<void>
  /** Resolves a flag that is on or off. Rejects with the code `FLAG_NOT_FOUND` or `TYPE_MISMATCH`, as the others do. */
  resolveBooleanEvaluation(
    flag: string,
    standard: boolean,
    context: FlagEvaluationContext,
  ): Promise<FlagResolution<boolean>>
  /** Resolves a flag whose values are strings. */
  resolveStringEvaluation(
    flag: string,
    standard: string,
    context: FlagEvaluationContext,
  ): Promise<FlagResolution<string>>
  /** Resolves a flag whose values are numbers. */
  resolveNumberEvaluation(
    flag: string,
    standard: number,
    context: FlagEvaluationContext,
  ): Promise<FlagResolution<number>>
  /** Resolves a flag whose values are objects or arrays. */
  resolveObjectEvaluation<Value>(
    flag: string,
    standard: Value,
    context: FlagEvaluationContext,
  ): Promise<FlagResolution<Value>>
}

export function createProvider<Defaults extends FlagDefaults>(
  feature: Flags<any, Defaults>,
): FlagProvider {
  const resolve =
    (type: string) => async (flag: string, _standard: unknown, context: FlagEvaluationContext) => {
      const states = feature.list()
      const state = states.find(({ name }) => name === flag)
      if (state?.default === undefined)
        throw notFound(
          flag,
          states.map(({ name }) => name),
        )
      const value: unknown = feature.value(flag, subjectOf(context))
      if (typeof value !== type)
        throw resolutionError('TYPE_MISMATCH', `The flag ${flag} is a ${typeof value}.`)
      const reason = state.rules === undefined ? 'DEFAULT' : 'TARGETING_MATCH'
      return { value: value as never, reason }
    }
  return {
    metadata: { name: 'turnpike' },
    runsOn: 'server',
    initialize: async () => await feature.refresh(),
    resolveBooleanEvaluation: resolve('boolean'),
    resolveStringEvaluation: resolve('string'),
    resolveNumberEvaluation: resolve('number'),
    resolveObjectEvaluation: resolve('object'),
  }
}

/** Returns an error as the SDK reads it: by its `code`. */
const resolutionError = (code: string, message: string): Error =>
  Object.assign(new Error(message), { code })

function notFound(flag: unknown, names: readonly string[]): Error {
  const near = typeof flag === 'string' ? closestMatch(flag.slice(0, 40), names) : undefined
  const hint = near === undefined ? 'Add it to defaults.' : `Did you mean ${near}?`
  return resolutionError('FLAG_NOT_FOUND', `There is no flag of this name. ${hint}`)
}

function subjectOf(context: FlagEvaluationContext | undefined | null): FlagSubject {
  const { targetingKey, organisation, plan } = context ?? {}
  return {
    user: targetingKey,
    organisation: organisation as string | undefined,
    plan: plan as string | undefined,
  }
}
