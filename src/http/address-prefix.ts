/** Addresses and networks of addresses (RFC 4632; RFC 4291, 2.3) in the one form in which they are compared. */
import ipaddr from 'ipaddr.js'
import {
  addressBits,
  bitsOf,
  ipv4Bits,
  plainAddress,
  type Ipv4Bits,
  type Ipv6Bits,
} from './address-bits.ts'

/** A network of addresses. A single address is a network of its full length. */
export type AddressPrefix = {
  /** Number of leading bits that its addresses share. */
  readonly length: number
  /** The only spelling of the network: `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`. */
  readonly text: string
} & (
  | { readonly family: 4; readonly bits: Ipv4Bits }
  | { readonly family: 6; readonly bits: Ipv6Bits }
)

/** Returns the leading bits of an IPv4 address. The others are 0. */
export const maskIpv4 = (bits: Ipv4Bits, length: number): Ipv4Bits =>
  length === 0 ? 0 : (bits & (-1 << (32 - length))) >>> 0

/** Returns the leading bits of an IPv6 address. */
export function maskIpv6(bits: Ipv6Bits, length: number): Ipv6Bits {
  if (length === 128) return bits
  const whole = length >> 4
  const rest = length & 15
  const start = bits.slice(0, whole)
  if (rest === 0) return start
  return start + String.fromCharCode(bits.charCodeAt(whole) & (0xffff << (16 - rest)))
}

/**
 * Returns an address or a network in CIDR notation. Bits behind the prefix are ignored. Undefined
 * for all other strings: ports, zones and octal numbers have no place in a network.
 */
export function parseAddressPrefix(text: string): AddressPrefix | undefined {
  const match = /^([\da-fA-F.:]{2,45})(?:\/(0|[1-9]\d{0,2}))?$/.exec(text)
  if (match === null) return undefined
  const address = match[1]!
  const length = match[2] === undefined ? undefined : Number(match[2])
  const bits = ipv4Bits(address)
  if (bits >= 0) return ipv4Prefix(bits, length ?? 32)
  if (!ipaddr.IPv6.isValid(address)) return undefined
  const { parts } = ipaddr.IPv6.parse(address)
  const all = bitsOf(parts)
  if (typeof all === 'string') return ipv6Prefix(parts, length ?? 128)
  // A network of wrapped addresses is one of IPv4 addresses, unless it is larger than all of them.
  if (length === undefined || length >= 96) return ipv4Prefix(all, (length ?? 128) - 96)
  return ipv6Prefix(parts, length)
}

/** Returns true if one of some networks contains an address. */
export function isInside(prefixes: readonly AddressPrefix[], address: string): boolean {
  const bits = addressBits(address)
  return prefixes.some((prefix) =>
    prefix.family === 4
      ? typeof bits === 'number' && maskIpv4(bits, prefix.length) === prefix.bits
      : typeof bits === 'string' && maskIpv6(bits, prefix.length) === prefix.bits,
  )
}

function ipv4Prefix(all: Ipv4Bits, length: number): AddressPrefix | undefined {
  if (length > 32) return undefined
  const bits = maskIpv4(all, length)
  const dotted = [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join('.')
  return { family: 4, length, bits, text: length === 32 ? dotted : `${dotted}/${length}` }
}

function ipv6Prefix(parts: readonly number[], length: number): AddressPrefix | undefined {
  if (length > 128) return undefined
  const masked = parts.map((part, i) => {
    const kept = Math.min(Math.max(length - 16 * i, 0), 16)
    return part & (0xffff << (16 - kept)) & 0xffff
  })
  const bits = maskIpv6(String.fromCharCode(...parts), length)
  const address = new ipaddr.IPv6(masked).toString()
  return { family: 6, length, bits, text: length === 128 ? address : `${address}/${length}` }
}

/** Ranges of ipaddr.js. Those of documentation (RFC 5737, 3849) are among `reserved`. */
const PUBLIC_RANGES: ReadonlySet<string> = new Set(['unicast', 'reserved'])

/**
 * Returns true for an address that a single client on the Internet can have. It is false for private,
 * loopback and link-local addresses, for those that a carrier's clients share (RFC 6598), for multicast,
 * and for IPv6 addresses that embed IPv4 ones: NAT64, 6to4, Teredo.
 */
export const isPublicAddress = (address: string): boolean =>
  plainAddress(address) === address && PUBLIC_RANGES.has(ipaddr.process(address).range())
