/** Checks that an application adds to `tp.health()`. */
import { isFunction, isObject, type Validator } from '../../validate.ts'

/** Result of a check. */
export interface HealthCheck {
  /** `'ok'`, or what is wrong. */
  readonly status: string
}

/** Checks by name. */
export type HealthChecks = Readonly<Record<string, () => HealthCheck | Promise<HealthCheck>>>

/** How long a check may take, in ms. */
const CHECK_TIMEOUT = 1000

/** Accepts checks. */
export const checksValidator: Validator = {
  expected: 'an object of functions by name, like { orders: () => queue.health() }',
  accepts: (value) => isObject(value) && Object.values(value).every(isFunction),
}

/** Resolves with the result of each check. One that rejects, or takes too long, has failed. */
export async function runChecks(checks: HealthChecks): Promise<Record<string, HealthCheck>> {
  const entries = Object.entries(checks).map(
    async ([name, check]) => [name, await runCheck(check)] as const,
  )
  return Object.fromEntries(await Promise.all(entries))
}

function runCheck(check: HealthChecks[string]): Promise<HealthCheck> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ status: 'timeout' }), CHECK_TIMEOUT)
    const run = async (): Promise<unknown> => check()
    run()
      .then(
        (result) => resolve(isResult(result) ? result : { status: 'error' }),
        // What went wrong may name hosts or secrets.
        () => resolve({ status: 'error' }),
      )
      .finally(() => clearTimeout(timer))
  })
}

const isResult = (value: unknown): value is HealthCheck =>
  isObject(value) && typeof value['status'] === 'string'
