/** What the trouble with a connection means, and what to do about it. */

import { isUnavailable, StoreUnavailable, TurnpikeError } from '../errors.ts'

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /WRONGPASS|invalid (username-)?password|NOAUTH|AUTH.*without any password/i,
    'Redis refused the user name or password: check them in the URL or options (redis://user:password@host:port).',
  ],
  [
    /NOPERM|user executing the script can't|ACL failure in script/,
    'The Redis user lacks a permission: docs/store.md has the ACL line that turnpike needs.',
  ],
  [
    /wrong version number|packet length too long|EPROTO/i,
    'The server does not speak TLS on this port: use redis:// in place of rediss://, or the TLS port.',
  ],
  [
    /self.signed|unable to verify|certificate|altnames/i,
    "The server's certificate is not trusted: give its CA in tls.ca, or in REDIS_SSL_CA_CERTS.",
  ],
  [/ENOTFOUND|EAI_AGAIN/, 'The host name of Redis cannot be resolved: check the URL.'],
  [
    /ECONNREFUSED/,
    'Nothing listens at the address of Redis: is it running, and is the port right?',
  ],
  [
    /All sentinels are unreachable/i,
    'No Sentinel answers, or none knows a master of that name: check the sentinels and their `name`.',
  ],
  [
    /unknown (redis )?command called from script/i,
    "A command that turnpike's scripts need is renamed or disabled on this server: docs/store.md lists them.",
  ],
  [
    /ERR unknown command|ERR unknown subcommand/i,
    'The server lacks a command that turnpike needs: Redis 7.0 or Valkey 7.2 is the least.',
  ],
]

/** The remedy for a message, or undefined. */
function remedy(message: string): string | undefined {
  return REMEDIES.find(([pattern]) => pattern.test(message))?.[1]
}

/** The remedy for an error that a client reported, or for what caused it. */
export function remedyFor(error: Error): string | undefined {
  const causes = ((error as AggregateError).errors ?? []) as Error[]
  const words = [error, ...causes].map(
    (each) => `${each.message} ${(each as { code?: string }).code ?? ''}`,
  )
  return remedy(words.join(' '))
}

const CLOSED_EARLY =
  'Redis closes each connection before it is ready: if the server speaks TLS, use rediss:// in place of redis://.'
const SILENT =
  'Redis answers no TLS handshake: if the server does not speak TLS on this port, use redis:// in place of rediss://; else check the address.'

interface Connection {
  on(event: 'ready' | 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: { code?: string }) => void): unknown
}

/** TLS with a server that has none, or none with one that has: no error says so, only that each attempt ends alike. */
export function watchHandshakes(
  client: Connection,
  secure: boolean,
  tell: (remedy: string) => void,
): void {
  let alike = 0
  let suspicious = !secure
  client.on('error', ({ code }) => (suspicious = code === (secure ? 'ETIMEDOUT' : 'ECONNRESET')))
  client.on('ready', () => (alike = -Infinity))
  client.on('close', () => {
    if (suspicious && ++alike === 3) tell(secure ? SILENT : CLOSED_EARLY)
    suspicious = !secure
  })
}

/** ioredis hangs the whole command on an error, and Redis quotes one that it does not know: both may hold secrets. */
export function discreet(error: unknown): string {
  if (typeof error === 'object' && error !== null) delete (error as { command?: unknown }).command
  return String((error as Partial<Error> | null)?.message).replace(
    /,? with args beginning with:.*/s,
    '',
  )
}

/** Why a command could not be carried out. */
export interface Trouble {
  uncertain: boolean
  said: string
  /** The server is well: it is these keys that cannot be had now. */
  isWell?: boolean
}

const CANNOT_SERVE =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|UNBLOCKED|NOAUTH|WRONGPASS|NOGOODSLAVE|MOVED|ASK)\b/
const NOT_SENT =
  /isn't writeable|writable|Connection is closed|None of startup nodes|Failed to refresh/i

/**
 * Did the server or the way to it fail, or was the command wrong? Undefined for the latter; those
 * must surface, not be taken for an outage.
 */
export function classify(error: unknown): Trouble | undefined {
  const { name = '', message = '' } = (error ?? {}) as Partial<Error>
  if (name === 'ReplyError') {
    const away = CANNOT_SERVE.test(message) || message.startsWith('max number of clients')
    return away ? { uncertain: false, said: message } : undefined
  }
  if (error instanceof TypeError || error instanceof RangeError) return undefined
  // A slot is on the move, and the command is for several of its keys: TRYAGAIN, again and again.
  if (message.startsWith('Too many Cluster redirections'))
    return { uncertain: false, said: message, isWell: true }
  const sent = !NOT_SENT.test(message)
  return { uncertain: sent, said: sent ? message : 'the connection is lost' }
}

/** What a caller is told of an error: nothing of the command's arguments, and the remedy where one is known. */
export function explained(error: unknown, operation: string): unknown {
  if (isUnavailable(error)) {
    discreet(error.cause)
    return error
  }
  const message = discreet(error)
  if (message.startsWith('TPLATE')) return new StoreUnavailable('late', false)
  const whole = [`Redis refused the operation '${operation}': ${message}`, remedy(message)]
  return new TurnpikeError('TP_COMMAND', whole.filter(Boolean).join(' '))
}

/** As `classify`, for a node of a Cluster: ioredis says "closed" of what it had sent, too. */
export function classifyOnNode(error: unknown): Trouble | undefined {
  const what = classify(error)
  const isClosed = (error as Partial<Error> | null)?.message === 'Connection is closed.'
  return what && isClosed ? { ...what, uncertain: true } : what
}
