/** Finds the Redis of an application, by a URL or by the application's own module. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { redisFromEnvironment } from '../environment.ts'
import { CONTEXT, type Instance } from '../extension.ts'
import { turnpike } from '../node.ts'
import { createInstanceTarget, serversOf, startOf } from '../commands/instance-target.ts'
import { isBuiltInArea } from '../store/areas.ts'
import { createKeySpace, type KeySpace } from '../store/keys.ts'
import type { RedisAddress } from '../store/redis.ts'
import { validateSource } from '../store/redis-source.ts'
import { ServerAccess } from '../store/server-access.ts'
import { databaseOf } from '../store/stores.ts'
import type { Turnpike } from '../turnpike.ts'
import { isFunction, isObject } from '../validate.ts'
import { CommandError, type CommandCall } from '../commands/command.ts'
import type { RedisTarget } from '../commands/target.ts'

type Options = CommandCall['options']

/** Finds Redis by the options of a command and the environment. @throws CommandError */
export async function openTarget(options: Options, env: NodeJS.ProcessEnv): Promise<RedisTarget> {
  if (options['app'] === undefined) return createUrlTarget(options, env)
  for (const other of ['redis', 'prefix', 'key-version', 'layout', 'master'])
    if (options[other] !== undefined)
      throw new CommandError(
        'usage',
        `--${other} and --app exclude each other: the application says it.`,
      )
  return await createAppTarget(String(options['app']), options)
}

function createUrlTarget(options: Options, env: NodeJS.ProcessEnv): RedisTarget {
  const source = sourceOf(options, env)
  const prefix = optionOf(
    options,
    'prefix',
    'tp',
    /^[\w.:-]{1,32}$/,
    "up to 32 letters, digits and '_.:-'",
  )
  const layout = optionOf(
    options,
    'layout',
    'prefix',
    /^(prefix|databases)$/,
    "'prefix' or 'databases'",
  )
  const version = options['key-version'] as string | undefined
  const master = options['master'] as string | undefined
  const opened = new Map<number | undefined, Promise<ServerAccess>>()
  let own: Turnpike<any, any> | undefined
  // A change comes after a look, which has found out whether it is a Cluster or a Sentinel.
  let address = source
  const dbOf = (area: string): number | undefined =>
    layout === 'databases' ? databaseOf(area) : undefined
  const access = (area: string): Promise<ServerAccess> => {
    const db = dbOf(area)
    const known = opened.get(db)
    if (known) return known
    const fresh = ServerAccess.open(source, {
      ...(db !== undefined && { db }),
      ...(master !== undefined && { master }),
    })
    const noted = fresh.then((found) => {
      address = found.address ?? source
      return found
    })
    opened.set(db, noted)
    return noted
  }
  const keys = (area: string, reported?: string): KeySpace => {
    // Keys of reports are the same for all versions.
    const part = area === 'operations' ? undefined : (version ?? reported)
    return createKeySpace(prefix, part, isBuiltInArea(area) ? undefined : area)
  }
  return {
    start: startOf(keys('rateLimit')),
    tenant: options['tenant'] as string | undefined,
    hasApp: false,
    keys,
    access,
    servers: () => serversOf(access, dbOf),
    instance: () =>
      (own ??= turnpike({
        redis: address,
        prefix,
        ...(version !== undefined && { version }),
        layout: layout as 'prefix' | 'databases',
        commandTimeout: '5s',
        requestBudget: '10s',
        logger: false,
        operations: false,
      })),
    async close() {
      await own?.close({ drain: 0 })
      for (const each of opened.values())
        await each.then(
          (one) => one.close(),
          () => {},
        )
    },
  }
}

function optionOf(
  options: Options,
  name: string,
  fallback: string,
  pattern: RegExp,
  expected: string,
): string {
  const value = String(options[name] ?? fallback)
  if (pattern.test(value)) return value
  throw new CommandError('usage', `--${name} must be ${expected}. It is '${value}'.`)
}

/** Returns where Redis is. @throws CommandError if neither options nor environment say it */
function sourceOf(options: Options, env: NodeJS.ProcessEnv): RedisAddress {
  const given = options['redis'] as string | undefined
  const name =
    given !== undefined ? '--redis' : env['TURNPIKE_REDIS_URL'] ? 'TURNPIKE_REDIS_URL' : 'REDIS_URL'
  const url = given ?? env[name]
  if (!url)
    throw new CommandError(
      'usage',
      'Where is Redis? Set TURNPIKE_REDIS_URL or REDIS_URL, or pass --redis redis://localhost:6379 or --app ./tp.mjs.',
    )
  const { REDIS_USERNAME: _user, REDIS_PASSWORD: _password, ...tls } = env
  const source = redisFromEnvironment({ ...(given === undefined ? env : tls), REDIS_URL: url })!
  try {
    validateSource(name, source, false)
    validateSource(name, url, false)
  } catch (error) {
    throw new CommandError('usage', (error as Error).message.replace(/^turnpike\(\): /, ''))
  }
  return source as RedisAddress
}

/** Loads the application's module, and reads the Redis of its instance. */
async function createAppTarget(file: string, options: Options): Promise<RedisTarget> {
  const tp = await loadInstance(file)
  const target = createInstanceTarget(tp, {
    name: `The instance in ${file}`,
    tenant: options['tenant'] as string | undefined,
  })
  return {
    ...target,
    async close() {
      await target.close()
      await tp.close({ drain: 0 })
    },
  }
}

async function loadInstance(file: string): Promise<Turnpike<any, any> & Instance> {
  const path = resolve(file)
  if (!existsSync(path)) throw new CommandError('usage', `--app: there is no file ${file}.`)
  let loaded: Record<string, unknown>
  try {
    loaded = (await import(pathToFileURL(path).href)) as Record<string, unknown>
  } catch (error) {
    throw new CommandError('usage', `--app: ${file} cannot be loaded: ${(error as Error).message}`)
  }
  const inner =
    isObject(loaded['default']) || isFunction(loaded['default']) ? loaded['default'] : {}
  const tp = loaded['tp'] ?? (inner as Record<string, unknown>)['tp'] ?? loaded['default']
  if (isObject(tp) && CONTEXT in tp) return tp as unknown as Turnpike<any, any> & Instance
  const names = Object.keys(loaded).join(', ') || 'nothing'
  throw new CommandError(
    'usage',
    `--app: ${file} must export the instance that turnpike() returned as \`tp\`. It exports ${names}.`,
  )
}
