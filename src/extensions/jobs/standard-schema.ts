/** The part of Standard Schema (https://standardschema.dev) that payloads need: zod, valibot, arktype. */
export interface PayloadSchema<Output = unknown> {
  /** The schema by the specification. */
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    validate(value: unknown): SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

/** What a schema says of a value. */
export type SchemaResult<Output> =
  | {
      /** What the schema makes of a valid value. */
      readonly value: Output
      /** Undefined for a valid value. */
      readonly issues?: undefined
    }
  | {
      /** What is wrong with an invalid value. */
      readonly issues: readonly SchemaIssue[]
    }

/** What is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong, in words. */
  readonly message: string
  /** Where it is. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** Returns the issues as one line: `to: Invalid email, body: Required`. */
export function describeIssues(issues: readonly SchemaIssue[]): string {
  const lines = issues.slice(0, 5).map(({ message, path = [] }) => {
    const name = path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
    return name === '' ? message : `${name}: ${message}`
  })
  return lines.join(', ').slice(0, 500)
}
