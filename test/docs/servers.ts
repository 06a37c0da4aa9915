/** Documentation may listen on any port: every server gets a free one and is closed at the end. */
import { Server } from 'node:net'

type Listen = (this: Server, ...args: unknown[]) => Server

/** Redirects every `listen()` until `restore` is called, which closes the servers. */
export function freePorts(): { servers: Server[]; restore(): void } {
  const servers: Server[] = []
  const prototype = Server.prototype as unknown as { listen: Listen }
  const { listen } = prototype
  prototype.listen = function (first, ...rest) {
    servers.push(this)
    const isPort = typeof first === 'number' || typeof first === 'string'
    const callback = rest.findLast((each) => typeof each === 'function')
    return isPort
      ? listen.call(this, 0, '127.0.0.1', ...(callback ? [callback] : []))
      : listen.call(this, first, ...rest)
  }
  return {
    servers,
    restore() {
      prototype.listen = listen
      for (const server of servers) server.close()
    },
  }
}
