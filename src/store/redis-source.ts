/** Validates where Redis is before ioredis sees it. No error shows a value that may hold a password. */
import { isFunction, isObject, OptionError, isListOf } from '../validate.ts'
import { isClient, isCluster, type IoredisClient, type RedisSource } from './redis.ts'

const EXPECTED =
  "a URL like 'redis://localhost:6379' or 'rediss://…', the path of a socket, ioredis options, an ioredis client, or 'memory'"

/**
 * Throws if Redis cannot be reached by `source`.
 * @param option names the option that it was passed as
 * @throws TP_OPTION
 */
export function validateSource(option: string, source: unknown, reuse: boolean): void {
  if (typeof source === 'string') return validateUrl(option, source)
  if (!isObject(source)) {
    const shown = source === null ? 'null' : `a ${Array.isArray(source) ? 'list' : typeof source}`
    const suggestion = isPort(source) ? `'redis://localhost:${source}'` : undefined
    throw invalid(option, EXPECTED, `it is ${shown}.${hintOf(suggestion)}`, suggestion)
  }
  if (source instanceof URL) throw invalid(option, EXPECTED, 'it is a URL object. Pass its href.')
  const client = foreignClient(source)
  if (client !== undefined)
    throw invalid(
      option,
      'an ioredis client, a URL or ioredis options',
      `it is ${client}. Pass the URL, or a client of ioredis: new Redis(url).`,
    )
  const known = source as RedisSource
  if (isClient(known)) {
    if (reuse) validateReused(known)
    return
  }
  if ('url' in source && source['url'] !== undefined) {
    if (typeof source['url'] !== 'string')
      throw invalid(`${option}.url`, 'a string', `it is a ${typeof source['url']}.`)
    validateUrl(option, source['url'])
  }
  const { cluster } = source
  if ('cluster' in source && !isListOf(cluster, Boolean, 1))
    throw invalid(`${option}.cluster`, 'a list of nodes: [{ host, port }, …]', 'it is none.')
}

/** Catches what is no address before ioredis takes it for a host name. */
function validateUrl(option: string, url: string): void {
  if (url.startsWith('/')) return
  if (/^rediss?:\/\/./i.test(url)) {
    if (URL.canParse(url)) return
    throw invalid(option, EXPECTED, 'it is a URL that cannot be parsed. Check its host and port.')
  }
  const isHost = /^(localhost|[\w-]+(\.[\w-]+)+|[\w.-]+(?=:\d+$))(:\d{1,5})?$/.test(url)
  const isMemory = url.trim().toLowerCase() === 'memory'
  const suggestion = isMemory ? "'memory'" : isHost ? `'redis://${url}'` : undefined
  const found = url.trim() === '' ? 'it is an empty string.' : 'it is no such string.'
  throw invalid(option, EXPECTED, `${found}${hintOf(suggestion)}`, suggestion)
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536

const hintOf = (suggestion: string | undefined): string =>
  suggestion === undefined ? '' : ` Did you mean ${suggestion}?`

/** Returns what a value is that has a client's methods but is no ioredis client; else undefined. */
function foreignClient(source: Record<string, unknown>): string | undefined {
  if (isFunction(source['then'])) return 'a promise'
  if (isFunction(source['duplicate']) && isFunction(source['defineCommand'])) return undefined
  const isNodeRedis = isFunction(source['sendCommand']) && 'isOpen' in source
  if (isNodeRedis) return "a client of node-redis (the package 'redis')"
  const methods = ['get', 'set', 'sendCommand', 'send_command', 'connect', 'duplicate']
  if (!methods.some((name) => isFunction(source[name]))) return undefined
  return `an instance of ${source.constructor?.name || 'an unknown class'}`
}

/** Refuses options of a reused client with which replies cannot be read. */
function validateReused(client: IoredisClient): void {
  const options = isCluster(client) ? client.options.redisOptions : client.options
  if (options?.stringNumbers !== true) return
  throw invalid(
    'reuse',
    'false for an ioredis client with stringNumbers: true',
    'turnpike needs the numbers of replies as numbers. Omit reuse, so that turnpike uses a duplicate of the client, or remove stringNumbers.',
  )
}

/** Returns an error that names the option but does not show its value. */
function invalid(
  option: string,
  expected: string,
  found: string,
  suggestion?: string,
): OptionError {
  const message = `turnpike(): ${option} must be ${expected}; ${found}`
  return new OptionError(message, option, undefined, expected, suggestion)
}
