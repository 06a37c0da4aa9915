/** Addresses of clients: how they are written, and what they are counted under. */
import ipaddr from 'ipaddr.js'

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

/**
 * Returns what an address is counted under: IPv4 by itself, also where IPv6 wraps it (RFC 4291,
 * 2.5.5.2); IPv6 by its network, because one subscriber has a whole /56 of addresses or more (RFC
 * 6177). All text that is no address shares the one subject 'invalid'.
 * @param ipv6Subnet length of the network's prefix in bits, 1 to 128
 */
export function addressSubject(address: string | undefined, ipv6Subnet = 56): string {
  const plain = plainAddress(address)
  if (plain === undefined) return 'invalid'
  return ipv4.exec(plain)?.[1] ?? networkOf(plain, ipv6Subnet)
}

function networkOf(address: string, length: number): string {
  const parsed = ipaddr.IPv6.parse(address)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  const bytes = parsed.toByteArray()
  for (const [index, byte] of bytes.entries()) {
    const kept = Math.min(Math.max(length - index * 8, 0), 8)
    bytes[index] = byte & (0xff00 >> kept)
  }
  return `${ipaddr.fromByteArray(bytes).toString()}/${length}`
}
