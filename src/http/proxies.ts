/** What is wrong with an application's settings for proxies. Each is said once, with the line to write. */
import type { ExchangeSettings } from './adapter.ts'
import { plainAddress } from './address-bits.ts'

/** How a framework is configured for the proxies before it. */
export interface ProxySettings {
  /** The setting's name. */
  readonly name: string
  /** The line that trusts one proxy. */
  readonly line: string
}

export const EXPRESS: ProxySettings = {
  name: "'trust proxy'",
  line: "app.set('trust proxy', 1)  // the number of proxies in front",
}
export const KOA: ProxySettings = {
  name: 'app.proxy',
  line: 'new Koa({ proxy: true, maxIpsCount: 1 })  // the number of proxies in front',
}

/** An address that any client can make up is not believed. */
export function warnOfTrust({ warnOnce }: ExchangeSettings, what: string, line: string): void {
  warnOnce(
    'trust',
    `${what}, so any client can make up its address. The socket's address is used instead. Write: ${line}`,
  )
}

/** Behind a proxy that is not trusted, all clients have the proxy's address. */
export function warnOfForwarding({ warnOnce }: ExchangeSettings, proxies?: ProxySettings): void {
  const [cause, remedy] =
    proxies === undefined
      ? [
          'node:http ignores it',
          "take the address from the header: key: (req) => tp.key.address(req.headers['x-forwarded-for']?.split(',').at(-1).trim())",
        ]
      : [`${proxies.name} is not set`, `write: ${proxies.line}`]
  warnOnce(
    'forwarded',
    `A request has X-Forwarded-For, but ${cause}: all clients behind one proxy count as one. If a proxy is in front, ${remedy}`,
  )
}

/**
 * Returns the address without port and zone. What is no address is reported, because all clients would share it.
 * @param seen the address as the framework tells it
 */
export function checkedAddress(
  { warnOnce }: ExchangeSettings,
  seen: string | undefined,
  proxies?: ProxySettings,
): string {
  const address = plainAddress(seen)
  if (address !== undefined) return address
  const shared = 'All such requests share one limit.'
  if (seen === undefined || seen === '') {
    const line = proxies === undefined ? '' : ` Behind a proxy, write: ${proxies.line}`
    warnOnce(
      'address',
      `A request has no client address: its connection is a Unix socket, or closed. ${shared}${line}`,
    )
  } else {
    const shown = JSON.stringify(seen.length > 60 ? `${seen.slice(0, 60)}...` : seen)
    warnOnce(
      'address',
      `A client's address is ${shown}, which is no IP address. ${shared} Have the proxy send the address in X-Forwarded-For, or take it from another header: key: (req) => tp.key.address(req.headers['x-real-ip'])`,
    )
  }
  return ''
}
