import ipaddr from 'ipaddr.js'

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const ipv4 = new RegExp(`^(?:::ffff:)?(${octet}(?:\\.${octet}){3})$`, 'i')

/**
 * What an address is counted under: IPv4 by itself, also where IPv6 wraps it (RFC 4291, 2.5.5.2);
 * IPv6 by its network, because one subscriber commands a whole /56 of addresses or more (RFC 6177).
 * Everything that is no address shares the one subject 'invalid'.
 *
 * @param ipv6Subnet the length of the network's prefix in bits, 1 to 128
 */
export function addressSubject(address: string | undefined, ipv6Subnet = 56): string {
  if (address === undefined) return 'invalid'
  const plain = ipv4.exec(address)
  if (plain !== null) return plain[1] as string
  return address.includes(':') ? networkOf(address, ipv6Subnet) : 'invalid'
}

function networkOf(address: string, length: number): string {
  const zone = address.indexOf('%')
  const text = zone === -1 ? address : address.slice(0, zone)
  if (!ipaddr.IPv6.isValid(text)) return 'invalid'
  const parsed = ipaddr.IPv6.parse(text)
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString()
  const bytes = parsed.toByteArray()
  for (const [index, byte] of bytes.entries()) {
    const kept = Math.min(Math.max(length - index * 8, 0), 8)
    bytes[index] = byte & (0xff00 >> kept)
  }
  return `${ipaddr.fromByteArray(bytes).toString()}/${length}`
}
