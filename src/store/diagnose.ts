/** Finds out what an error of a connection means and what an operator can do about it. */
import { StoreUnavailable, TurnpikeError } from '../errors.ts'

/** Remedies for what is also true while a server restarts. They are no warnings by themselves. */
const OUTAGES: readonly (readonly [RegExp, string])[] = [
  [/ENOTFOUND|EAI_AGAIN/, 'The host name of Redis cannot be resolved. Check the URL.'],
  [
    /ECONNREFUSED/,
    'Nothing listens at the address of Redis. Check that it is running and that the port is right.',
  ],
]

const MISTAKES: readonly (readonly [RegExp, string])[] = [
  [
    /NOAUTH/,
    'Redis requires a password, and none was given. Put it into the URL (redis://user:password@host:port) or the options.',
  ],
  [
    /WRONGPASS|invalid (username-)?password|AUTH.*without any password/i,
    'Redis refused the user name or password. Check them in the URL (redis://user:password@host:port) or the options.',
  ],
  [
    /NOPERM|user executing the script can't|ACL failure in script/,
    'The Redis user lacks a permission. docs/store.md shows the ACL line that turnpike needs.',
  ],
  [
    /WRONGTYPE/,
    'Another program has written a key under the prefix of turnpike. Give each program a prefix of its own, and delete that key.',
  ],
  [
    /wrong version number|packet length too long|EPROTO/i,
    'The server does not speak TLS on this port. Use redis:// instead of rediss://, or the TLS port.',
  ],
  [
    /self.signed|unable to verify|certificate|altnames/i,
    "The server's certificate is not trusted. Pass its CA in tls.ca or in REDIS_SSL_CA_CERTS.",
  ],
  [
    /Unknown RESP type|Protocol error, got/i,
    "What listens at this address does not speak Redis's protocol. Check the host and the port.",
  ],
  [
    /All sentinels are unreachable/i,
    'No Sentinel replies, or none knows a master of that name. Check `sentinels` and `name`.',
  ],
  [
    /unknown (redis )?command called from script/i,
    'A command that the scripts of turnpike need is renamed or disabled on this server. docs/store.md lists them.',
  ],
  [
    /ERR unknown command|ERR unknown subcommand/i,
    'The server lacks a command that turnpike needs, or the command is renamed. Use Redis 7.0, Valkey 7.2, or later.',
  ],
]

const remedyForMessage = (message: string): string | undefined =>
  [...MISTAKES, ...OUTAGES].find(([pattern]) => pattern.test(message))?.[1]

/** Returns true if a remedy is for an outage, which may end by itself. */
export const isOutageRemedy = (remedy: string): boolean =>
  OUTAGES.some(([, each]) => each === remedy)

/** Returns the remedy for an error that a client reported, or for one of its causes. */
export function remedyFor(error: Error): string | undefined {
  const causes = ((error as AggregateError).errors ?? []) as Error[]
  const descriptions = [error, ...causes].map(
    (each) => `${each.message} ${(each as { code?: string }).code ?? ''}`,
  )
  return remedyForMessage(descriptions.join(' '))
}

/** Returns the message of a connection error. Node puts that of each address into `errors`. */
export function describe(error: Error): string {
  const causes = ((error as AggregateError).errors ?? []) as Error[]
  const messages = [error, ...causes]
    .map(({ message }) => message.replace(/\.?( Please report this)?\.*$/, ''))
    .filter(Boolean)
  return [...new Set(messages)].join(', ')
}

const CLOSED_EARLY =
  'Redis closes each connection before it is ready. If the server speaks TLS, use rediss:// instead of redis://. In protected mode, a server without a password refuses other machines: set a password.'
const NO_HANDSHAKE =
  'Redis does not reply to the TLS handshake. If the server does not speak TLS on this port, use redis:// instead of rediss://. Otherwise check the address.'

const NO_REPLY =
  'The server accepts the connection and does not reply. It may be frozen, or busy with a slow command: look at its log and at the load of its machine.'

/**
 * Returns the remedy where a connection failed before it was ready, and no error says why.
 * @param isClosed true if the server closed it
 */
export function remedyForSilence(
  error: NodeJS.ErrnoException | undefined,
  usesTls: boolean,
  isClosed: boolean,
): string | undefined {
  const code = error?.code
  if (code === 'ETIMEDOUT' || (error === undefined && !isClosed))
    return usesTls ? NO_HANDSHAKE : NO_REPLY
  const wasClosed = error === undefined || code === 'EPIPE' || code === 'ECONNRESET'
  return wasClosed && !usesTls ? CLOSED_EARLY : undefined
}

interface Connection {
  on(event: 'ready' | 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: { code?: string }) => void): unknown
}

/**
 * Detects TLS against a plain port, and the reverse. No error says so, but three attempts in a row
 * end in the same way.
 */
export function detectTlsMismatch(
  client: Connection,
  usesTls: boolean,
  warn: (remedy: string) => void,
): void {
  let similarFailures = 0
  let isSuspicious = !usesTls
  client.on('error', ({ code }) => {
    isSuspicious = usesTls ? code === 'ETIMEDOUT' : code === 'ECONNRESET' || code === 'EPIPE'
  })
  client.on('ready', () => (similarFailures = -Infinity))
  client.on('close', () => {
    if (isSuspicious && ++similarFailures === 3) warn(usesTls ? NO_HANDSHAKE : CLOSED_EARLY)
    isSuspicious = !usesTls
  })
}

/**
 * Returns an error's message without the arguments of a command. Redis quotes them for a command
 * that it does not know.
 */
export function redact(error: unknown): string {
  const message = String((error as Partial<Error> | null)?.message)
  return message.replace(/,? with args beginning with:.*/s, '')
}

/**
 * Returns a cause that a log may show. No error of ioredis leaves the store: it carries the command
 * with its arguments, that of AUTH with the password.
 */
export function toCause(error: unknown): Error {
  const { code, name } = (error ?? {}) as Partial<NodeJS.ErrnoException>
  const cause = new Error(redact(error))
  if (name !== undefined) cause.name = name
  return Object.assign(cause, code !== undefined && { code })
}

/** An error that means that the server, or the connection to it, failed. */
export interface Outage {
  message: string
  /** True if the command may have run. */
  uncertain: boolean
  /** True if the server is well and only these keys are unavailable. */
  isServerHealthy?: boolean
}

const UNAVAILABLE_REPLY =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|OOM|MISCONF|UNBLOCKED|NOAUTH|WRONGPASS|NOGOODSLAVE|MOVED|ASK|ERR max number of clients)\b/
const NOT_SENT =
  /isn't writeable|writable|Connection is closed|None of startup nodes|Failed to refresh/i

/** Returns why Redis discarded a transaction, or the error itself. */
function rootOf(error: unknown): unknown {
  const { message = '', previousErrors } = (error ?? {}) as Partial<DiscardError>
  if (!message.startsWith('EXECABORT')) return error
  const reason = message.replace(/^EXECABORT [\w ]+: /, '')
  // Without a reason of its own: a command was refused before EXEC.
  return previousErrors?.[0] ?? Object.assign(new Error(reason), { name: 'ReplyError' })
}

/** The error of EXEC, with those of the commands before it, as ioredis collects them. */
interface DiscardError extends Error {
  readonly previousErrors: readonly Error[]
}

/**
 * Tells an outage from a wrong command. Returns undefined for the latter: it must surface and not
 * take the path of an outage.
 */
export function classify(error: unknown): Outage | undefined {
  const { name = '', message = '' } = (rootOf(error) ?? {}) as Partial<Error>
  if (name === 'ReplyError') {
    return UNAVAILABLE_REPLY.test(message)
      ? { uncertain: false, message: redact({ message }) }
      : undefined
  }
  if (error instanceof TypeError || error instanceof RangeError) return undefined
  // A hash slot is being migrated, and the command is for several of its keys: TRYAGAIN each time.
  if (message.startsWith('Too many Cluster redirections'))
    return { uncertain: false, message, isServerHealthy: true }
  const wasSent = !NOT_SENT.test(message)
  return { uncertain: wasSent, message: wasSent ? message : 'the connection is lost' }
}

/** Does the same for a node of a Cluster. ioredis says "closed" of commands that it had sent, too. */
export function classifyOnNode(error: unknown): Outage | undefined {
  const outage = classify(error)
  const isClosed = (error as Partial<Error> | null)?.message === 'Connection is closed.'
  return outage && isClosed ? { ...outage, uncertain: true } : outage
}

/** Returns the error for the caller whose command was wrong, with a remedy if one is known. */
export function toCallerError(error: unknown, operation: string): TurnpikeError {
  const message = redact(rootOf(error))
  if (message.startsWith('TPLATE')) return new StoreUnavailable('late', false)
  const sentences = [`Redis refused the operation '${operation}': ${message}`]
  const remedy = remedyForMessage(message)
  if (remedy !== undefined) sentences.push(remedy)
  return new TurnpikeError('TP_COMMAND', sentences.join(' '))
}
