/** Hides addresses of clients from people who may only view. */

const IPV4 = /(?<![\d.])(\d{1,3}\.\d{1,3})\.\d{1,3}\.\d{1,3}(?![\d.])/g
/** Also as parts of keys: there a colon is %3a. */
const IPV6 = /(?<![\w:])(?:[0-9a-f]{0,4}(?::|%3a)){2,7}[0-9a-f]{0,4}(?![\w:])/gi

/** Returns a JSON document in which addresses show only the network that they belong to. */
export const maskAddresses = (json: string): string =>
  json.replace(IPV4, '$1.*.*').replace(IPV6, (address) => {
    const [first = '', second = ''] = address.split(/:|%3a/i)
    return `${first}:${second}:*`
  })
