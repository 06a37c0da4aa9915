/** Cookies that tell nothing about the sender, as far as a cached response is concerned. */

/** Cookies of analytics and advertising. `*` at the end matches any rest. */
const ANALYTICS = [
  '_ga',
  '_ga_*',
  '_gid',
  '_gat*',
  '_gac_*',
  '_gcl_*',
  '__utm*',
  '__gads',
  '__gpi',
  '_fbp',
  '_fbc',
  '_pk_*',
  '_hj*',
  '_clck',
  '_clsk',
  '_uet*',
  '_ttp',
  '_pin_unauth',
  '_scid*',
  '_rdt_uuid',
  'ajs_anonymous_id',
  'amplitude_id*',
  'mp_*_mixpanel',
  '__hstc',
  '__hssc',
  '__hssrc',
  'hubspotutk',
  '__cf_bm',
] as const

/** Recognises cookies that do not make a request personal. */
export class IgnoredCookies {
  readonly #names = new Set<string>()
  readonly #patterns: { readonly start: string; readonly end: string }[] = []

  /** @param more names beyond those of analytics. One `*` matches any characters. */
  constructor(more: readonly string[]) {
    for (const name of [...ANALYTICS, ...more]) {
      const star = name.indexOf('*')
      if (star < 0) this.#names.add(name)
      else this.#patterns.push({ start: name.slice(0, star), end: name.slice(star + 1) })
    }
  }

  /** Returns whether all cookies of a Cookie field are ignored. Takes linear time. */
  covers(field: string): boolean {
    for (let start = 0; start <= field.length;) {
      const semicolon = field.indexOf(';', start)
      const end = semicolon < 0 ? field.length : semicolon
      const pair = field.slice(start, end)
      const equals = pair.indexOf('=')
      const name = (equals < 0 ? pair : pair.slice(0, equals)).trim()
      if ((name !== '' || equals >= 0) && !this.#ignores(name)) return false
      start = end + 1
    }
    return true
  }

  #ignores(name: string): boolean {
    return (
      this.#names.has(name) ||
      this.#patterns.some(
        ({ start, end }) =>
          name.length >= start.length + end.length && name.startsWith(start) && name.endsWith(end),
      )
    )
  }
}
