/** Addresses and their bits, read without a regular expression where an address has its usual form. */
import ipaddr from 'ipaddr.js'

/** Bits of an IPv4 address: an integer below 2^32. */
export type Ipv4Bits = number
/** Bits of an IPv6 address: eight characters of 16 bits. */
export type Ipv6Bits = string

/** How a socket that listens on IPv6 writes the addresses of IPv4 clients (RFC 4291, 2.5.5.2). */
const WRAPPED = '::ffff:'
const COLON = 58
const DOT = 46
const ZERO = 48

/** No address is longer, zone and port included (RFC 4291, 2.2; RFC 4007, 11). */
const LONGEST = 128

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const ipv4 = new RegExp(`^(?:::ffff:)?(${octet}(?:\\.${octet}){3})$`, 'i')
const withPort = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d{1,5})?$/

/**
 * Returns an address without a port and without a zone (RFC 4007, 11): gateways write `a.b.c.d:port`
 * and `[v6]:port`. Undefined if the text is no address.
 */
export function plainAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > LONGEST) return undefined
  if (ipv4.test(text)) return text
  const parts = withPort.exec(text)
  const address = (parts?.[1] ?? parts?.[2] ?? text).split('%', 1)[0]!
  return ipv4.test(address) || ipaddr.IPv6.isValid(address) ? address : undefined
}

/** The groups of the address that is being read. */
const groups = new Uint16Array(8)

/**
 * Returns the bits of an IPv4 address in dotted decimals, -1 for any other string.
 * @param start index of its first character
 */
export function ipv4Bits(address: string, start = 0): Ipv4Bits {
  let bits = 0
  let dots = 0
  let octet = -1
  for (let i = start; i < address.length; i++) {
    const code = address.charCodeAt(i)
    if (code === DOT) {
      if (octet < 0 || dots === 3) return -1
      bits = (bits << 8) | octet
      octet = -1
      dots++
      continue
    }
    // A leading zero is octal for some programs.
    if (code < ZERO || code > 57 || octet === 0) return -1
    octet = octet < 0 ? code - ZERO : octet * 10 + code - ZERO
    if (octet > 255) return -1
  }
  return dots === 3 && octet >= 0 ? ((bits << 8) | octet) >>> 0 : -1
}

/**
 * Returns the bits of a client's address: a number for IPv4, also where IPv6 wraps it (RFC 4291,
 * 2.5.5.2), and a string for IPv6. Undefined for a string that is no address.
 */
export function addressBits(address: string): Ipv4Bits | Ipv6Bits | undefined {
  const bits = ipv4Bits(address, address.startsWith(WRAPPED) ? WRAPPED.length : 0)
  if (bits >= 0) return bits
  if (readGroups(address)) return bitsOf(groups)
  const plain = plainAddress(address)
  if (plain === undefined) return undefined
  const unwrapped = ipv4Bits(plain)
  return unwrapped >= 0 ? unwrapped : bitsOf(ipaddr.IPv6.parse(plain).parts)
}

/** Returns the bits of eight groups: those of an IPv4 address if they wrap one. */
export function bitsOf(parts: ArrayLike<number>): Ipv4Bits | Ipv6Bits {
  const last = parts[7]!
  if (parts[5] === 0xffff && isUnset(parts)) return parts[6]! * 65_536 + last
  const [a, b, c, d] = [parts[0]!, parts[1]!, parts[2]!, parts[3]!]
  return String.fromCharCode(a, b, c, d, parts[4]!, parts[5]!, parts[6]!, last)
}

const isUnset = (parts: ArrayLike<number>): boolean =>
  (parts[0]! | parts[1]! | parts[2]! | parts[3]! | parts[4]!) === 0

/**
 * Reads an IPv6 address in hexadecimal groups into `groups` (RFC 4291, 2.2, forms 1 and 2). Returns
 * false for any other string, which may still be an address: with a port, a zone or decimals.
 */
function readGroups(address: string): boolean {
  const { length } = address
  let count = 0
  let gap = -1
  let group = 0
  let digits = 0
  for (let i = 0; i < length; i++) {
    const code = address.charCodeAt(i)
    if (code !== COLON) {
      const digit = hexDigit(code)
      if (digit < 0 || digits === 4 || count === 8) return false
      group = (group << 4) | digit
      digits++
    } else if (digits > 0) {
      if (i === length - 1) return false
      groups[count++] = group
      group = digits = 0
    } else if (i === 0) {
      if (address.charCodeAt(1) !== COLON) return false
    } else {
      if (gap >= 0) return false
      gap = count
    }
  }
  if (digits > 0) groups[count++] = group
  if (gap < 0 || count === 8) return gap < 0 && count === 8
  const zeros = 8 - count
  for (let i = count - 1; i >= gap; i--) groups[i + zeros] = groups[i]!
  for (let i = gap; i < gap + zeros; i++) groups[i] = 0
  return true
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= 57) return code - ZERO
  const letter = code | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
