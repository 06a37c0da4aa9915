/**
 * The only place where keys are built: `<prefix>:<feature>:{<subject>}[:<sub>...]`.
 *
 * The subject stands in a Cluster hash tag, so that all keys of one script share a slot. Whatever
 * a client puts into a part, it cannot leave the tag, nor make two different subjects collide, nor
 * make a key longer than 200 bytes.
 */
import { createHash } from 'node:crypto'

const PLAIN = /^[\w.@-]{1,64}$/
const ODD = /[^\w.@-]/g
const LONGEST = 64

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

const percent = (char: string): string => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`

const escape = (text: string): string =>
  Buffer.from(text, 'utf8').toString('latin1').replace(ODD, percent)

/**
 * One part of a key, as bytes of `[A-Za-z0-9_.@-]`, `%` and `~`: escaped byte by byte, marked when
 * empty, hashed when long. Unicode is not normalised, and lone surrogates (which UTF-8 would fold
 * into one replacement character) stay apart.
 */
export function keyPart(text: string, longest: number = LONGEST): string {
  if (PLAIN.test(text) && text.length <= longest) return text
  if (text === '') return '~e'
  const escaped = text.isWellFormed() ? escape(text) : `~u${escape(JSON.stringify(text))}`
  return escaped.length <= longest ? escaped : `~h${sha256(JSON.stringify(text))}`
}

/** What something is counted, cached or locked by: one name, or several that belong together. */
export type Subject = string | readonly string[]

/** Builds the keys of one instance. */
export interface KeySpace {
  /** The content of the hash tag for `subject`, within `tenant` where there is one. */
  tag(subject: Subject, tenant?: string): string
  /** The key of `feature` under `tag`; `sub` must already consist of parts. */
  key(feature: string, tag: string, sub?: string): string
  /** A pub/sub channel of `feature`. */
  channel(feature: string, name: string): string
}

/**
 * @param prefix stands before every key; letters, digits and `_.:-`
 * @param version a number or name that makes everything cold when it changes
 * @param name of an extension: stands before its features' names, so that extensions cannot collide
 */
export function createKeySpace(prefix: string, version?: string | number, name?: string): KeySpace {
  // A version is the operator's own word: the beginning of a hash tells enough of them apart.
  const versioned =
    version === undefined ? prefix : `${prefix}~${keyPart(String(version), 20).slice(0, 20)}`
  const start = name === undefined ? versioned : `${versioned}:${keyPart(name)}`
  return {
    tag(subject, tenant) {
      const parts =
        typeof subject === 'string'
          ? keyPart(subject)
          : subject.map((each) => keyPart(each)).join(':')
      // '=' is no character of a part: a tenant is never mistaken for the first of several parts.
      const whole = tenant === undefined ? parts : `${keyPart(tenant, 32)}=${parts}`
      return whole.length <= LONGEST ? whole : `~t${sha256(whole)}`
    },
    key: (feature, tag, sub) =>
      sub === undefined ? `${start}:${feature}:{${tag}}` : `${start}:${feature}:{${tag}}:${sub}`,
    channel: (feature, name) => `${start}:${feature}!${keyPart(name)}`,
  }
}
