/** The client's address, as it is counted. */
import { addressSubject } from '../../http/client-address.ts'
import type { Exchange } from '../../http/exchange.ts'

/** What `addressSubject()` calls everything that is no address. Strangers would share its count. */
const NONE = 'invalid'

/** Returns an address as it is counted: IPv6 by its network. Undefined for what is no address. */
export function networkOfAddress(address: string | undefined): string | undefined {
  const network = addressSubject(address)
  return network === NONE ? undefined : network
}

/** Returns the network that a request comes from. Undefined if the address is unknown. */
export const networkOf = (x: Pick<Exchange, 'ip'>): string | undefined => networkOfAddress(x.ip)
