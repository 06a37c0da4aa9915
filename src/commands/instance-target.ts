/** The Redis of an instance that this process has. */
import { CONTEXT } from '../extension.ts'
import { AREAS } from '../store/areas.ts'
import type { KeySpace } from '../store/keys.ts'
import { ServerAccess, type ClientLender } from '../store/server-access.ts'
import { CommandError } from './command.ts'
import type { RedisTarget, TargetInstance, TargetServer } from './target.ts'

/** Returns the Redis of an instance. Its connections are opened at first use, and are its own. */
export function createInstanceTarget(
  tp: TargetInstance,
  { name, tenant }: { readonly name: string; readonly tenant: string | undefined },
): RedisTarget {
  const contextFor = tp[CONTEXT]
  const opened = new Map<object, Promise<ServerAccess>>()
  const access = async (area: string): Promise<ServerAccess> => {
    const { store } = contextFor(area)
    if (!('openClient' in store))
      throw new CommandError(
        'usage',
        `${name} keeps its data in its own process. There is nothing to see from here.`,
      )
    const known = opened.get(store)
    if (known) return await known
    const fresh = ServerAccess.borrow(store as unknown as ClientLender)
    opened.set(store, fresh)
    // The next command tries again.
    fresh.catch(() => opened.delete(store))
    return await fresh
  }
  const keys = (area: string): KeySpace => contextFor(area).keys
  return {
    start: startOf(keys('rateLimit')),
    tenant,
    hasApp: true,
    keys,
    access,
    servers: () => serversOf(access, () => undefined),
    instance: () => tp,
    async close() {
      for (const each of opened.values())
        await each.then(
          (one) => one.close(),
          () => {},
        )
    },
  }
}

/** Returns the servers of all areas, each once. */
export async function serversOf(
  access: (area: string) => Promise<ServerAccess>,
  dbOf: (area: string) => number | undefined,
): Promise<TargetServer[]> {
  const found = new Map<ServerAccess, string[]>()
  for (const area of AREAS) {
    const each = await access(area)
    found.set(each, [...(found.get(each) ?? []), area])
  }
  return [...found].map(([each, areas]) => ({ access: each, areas, db: dbOf(areas[0]!) }))
}

/** Returns how the keys of built-in features begin. */
export const startOf = (keys: KeySpace): string => keys.key('', '').slice(0, -'::{}'.length)
