/** What the addresses of clients are counted under. */
import { addressBits, ipv4Bits, type Ipv6Bits } from './address-bits.ts'

/**
 * Returns what an address is counted under: IPv4 by itself, also where IPv6 wraps it (RFC 4291,
 * 2.5.5.2); IPv6 by its network, because one subscriber has a whole /56 of addresses or more (RFC
 * 6177). All text that is no address shares the one subject 'invalid'.
 * @param ipv6Subnet length of the network's prefix in bits, 1 to 128
 */
export function addressSubject(address: string | undefined, ipv6Subnet = 56): string {
  if (address === undefined) return 'invalid'
  if (ipv4Bits(address) >= 0) return address
  const bits = addressBits(address)
  if (bits === undefined) return 'invalid'
  return typeof bits === 'number'
    ? `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
    : `${networkOf(bits, ipv6Subnet)}/${ipv6Subnet}`
}

/** Returns the first address of a network, as RFC 5952 (4) writes it. */
function networkOf(bits: Ipv6Bits, length: number): string {
  const groups: number[] = []
  let [gap, zeros] = [-1, 1]
  for (let i = 0, run = 0; i < 8; i++) {
    const kept = Math.min(Math.max(length - 16 * i, 0), 16)
    const group = bits.charCodeAt(i) & (0xffff << (16 - kept)) & 0xffff
    groups.push(group)
    run = group === 0 ? run + 1 : 0
    // Of two runs of zeros that are equally long, the first one is left out.
    if (run > zeros) [gap, zeros] = [i - run + 1, run]
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === gap) {
      text += '::'
      i += zeros - 1
    } else text += `${text === '' || text.endsWith(':') ? '' : ':'}${groups[i]!.toString(16)}`
  }
  return text
}
