/** Addresses that a caller passes, in the form in which those of requests are counted. */
import { addressSubject } from '../../http/client-address.ts'

/** What all requests without a usable address are counted by. */
const NO_ADDRESS = addressSubject(undefined)

/**
 * Returns an address as requests from it are counted, or undefined if it is none. Takes a network
 * as events show it (`2001:db8::/56`), too.
 */
export function normalizeAddress(address: string, ipv6Subnet?: number): string | undefined {
  const plain = address.replace(/\/\d{1,3}$/, '')
  const subject = addressSubject(plain, ipv6Subnet)
  if (subject === NO_ADDRESS) return undefined
  // The network of another size is no subject of this limiter.
  return plain === address || subject === address ? subject : undefined
}
