/** Configuration from the environment variables that Redis clients commonly read. */
import { readFileSync } from 'node:fs'
import { optionError } from './validate.ts'
import type { RedisSource } from './store/redis.ts'

/**
 * Returns the location of Redis by REDIS_URL, REDIS_USERNAME, REDIS_PASSWORD, REDIS_SSL, REDIS_SSL_CA_CERTS,
 * REDIS_SSL_CERTFILE and REDIS_SSL_KEYFILE (the last three name files), undefined without REDIS_URL.
 * Pool sizes and socket timeouts are ignored: there is one connection, and `commandTimeout` bounds it.
 * @throws TP_OPTION for a file that cannot be read
 */
export function redisFromEnvironment(
  env: NodeJS.ProcessEnv = process.env,
): RedisSource | undefined {
  const url = env['REDIS_URL']
  if (!url) return undefined
  const secure = url.startsWith('rediss:') || /^(1|true|yes)$/i.test(env['REDIS_SSL'] ?? '')
  const [username, password] = [env['REDIS_USERNAME'], env['REDIS_PASSWORD']]
  return {
    url: username || password ? signed(url, username, password) : url,
    ...(secure && {
      tls: {
        ...file('ca', 'REDIS_SSL_CA_CERTS', env),
        ...file('cert', 'REDIS_SSL_CERTFILE', env),
        ...file('key', 'REDIS_SSL_KEYFILE', env),
      },
    }),
  }
}

/** The URL with the credentials that it lacks: ioredis would take a URL's user name for one without a password. */
function signed(url: string, username = '', password = ''): string {
  if (!URL.canParse(url)) return url
  const whole = new URL(url)
  whole.username ||= encodeURIComponent(username)
  whole.password ||= encodeURIComponent(password)
  return whole.href
}

function file(option: string, variable: string, env: NodeJS.ProcessEnv): Record<string, Buffer> {
  const path = env[variable]
  if (!path) return {}
  try {
    return { [option]: readFileSync(path) }
  } catch {
    throw optionError('turnpike.fromEnv()', variable, path, 'the path of a file that can be read')
  }
}
