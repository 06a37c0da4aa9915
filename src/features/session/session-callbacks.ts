/** What the application's callbacks return: checked, because nothing else would notice. */
import { TurnpikeError } from '../../errors.ts'
import { USER_ID, userIdString } from '../../user-id.ts'
import { isPromise } from '../../http/promises.ts'

/**
 * Returns the ID that the option `genid` generates.
 * @throws TP_VALUE for what is no string, is empty, or cannot be sent in a cookie
 */
export function generatedId(genid: (native: never) => unknown, native: object): string {
  const id = genid(native as never)
  if (typeof id === 'string' && id !== '' && id.isWellFormed()) return id
  throw valueError(
    id,
    'tp.session(): `genid` must return the ID, a string that is not empty and has no lone surrogates.',
  )
}

/**
 * Returns the user whom the application has logged in itself, as the option `user` tells.
 * @throws TP_VALUE for what is no ID
 */
export function loggedInUser(user: (native: never) => unknown, native: object): string | undefined {
  const id = user(native as never)
  if (id === undefined || id === null || id === false) return undefined
  const name = userIdString(id)
  if (name !== undefined) return name
  throw valueError(
    id,
    `tp.session(): \`user\` must return the user's ID, ${USER_ID}, or undefined if nobody is logged in.`,
  )
}

function valueError(value: unknown, rule: string): TurnpikeError {
  if (!isPromise(value)) return new TurnpikeError('TP_VALUE', rule)
  // Otherwise its rejection would end the process.
  Promise.resolve(value).catch(() => {})
  return new TurnpikeError('TP_VALUE', `${rule} It returned a promise.`)
}
