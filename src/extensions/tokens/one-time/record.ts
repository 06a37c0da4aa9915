/** Records of one-time tokens, as the in-process engine keeps them. See record.lua. */

/** Length of a digest: SHA-256 in base64url. */
const DIGEST_LENGTH = 43
const NONE = '-'.repeat(DIGEST_LENGTH)
const MEMORY = 86_400_000
const NUMBERS = /^(\d{2})(\d{6})(\d{13})(\d{13})/
const HEADER_LENGTH = DIGEST_LENGTH + 34

export interface OneTimeRecord {
  token: string
  left: number
  failures: number
  pause: number
  ends: number
  payload: string
}

/** How many tokens may be wrong, and how long another one is waited for; times in ms. */
export interface Patience {
  readonly attempts: number
  readonly cooldown: number
  readonly maxCooldown: number
}

export function parseRecord(text: string | undefined): OneTimeRecord | undefined {
  const numbers = NUMBERS.exec(text?.slice(DIGEST_LENGTH) ?? '')
  if (text === undefined || numbers === null) return undefined
  const [left, failures, pause, ends] = numbers.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
  ]
  const [token, payload] = [text.slice(0, DIGEST_LENGTH), text.slice(HEADER_LENGTH)]
  return { token, left, failures, pause, ends, payload }
}

export function formatRecord({
  token,
  left,
  failures,
  pause,
  ends,
  payload,
}: OneTimeRecord): string {
  const digits = (number: number, length: number): string => number.toFixed(0).padStart(length, '0')
  return `${token}${digits(left, 2)}${digits(failures, 6)}${digits(pause, 13)}${digits(ends, 13)}${payload}`
}

export const isLive = ({ token, ends }: OneTimeRecord, now: number): boolean =>
  token !== NONE && ends > now

export function voidRecord(record: OneTimeRecord): void {
  Object.assign(record, { token: NONE, ends: 0, payload: '' })
}

export const recordLife = ({ pause, ends, failures }: OneTimeRecord, now: number): number =>
  Math.max(pause - now, ends - now, failures > 0 ? MEMORY : 1)

export const LIFE_OF_NONE: number = MEMORY

export function pauseAfter(
  failures: number,
  { attempts, cooldown, maxCooldown }: Patience,
): number {
  const rounds = attempts > 0 ? Math.floor(failures / attempts) : 0
  if (rounds < 2) return cooldown
  return Math.min(Math.max(cooldown, 1000) * 2 ** (rounds - 1), maxCooldown)
}
