/** Processes that read sessions near, and what they ask the store. */
import type { Store } from '../../../src/store/store.ts'
import type { AppKind } from '../../support/apps.ts'
import type { EngineUnderTest, Opened } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { ageing, site, type Browser, type Site, type SiteOptions } from './support.ts'

/** One process: its application, and the names of the operations that it has run. */
export interface NearProcess {
  readonly app: Site
  readonly store: Store
  readonly operations: string[]
  /** The changes of sessions that it was notified of. */
  readonly changes: string[]
  browser(cookie?: string): Browser
  /** Reads until a read asks the store nothing. */
  warm(someone: Browser, path?: string): Promise<void>
  /** What a read of the session costs. */
  cost(someone: Browser, path?: string): Promise<string[]>
}

export interface NearProcesses {
  readonly here: NearProcess
  readonly elsewhere: NearProcess
  advance(time: Parameters<Opened['advance']>[0]): Promise<void>
  /** From now on every message about sessions is lost on its way to every process. */
  loseMessages(): void
}

const isOfSessions = (name: string): boolean => name.startsWith('session.')

/** Two processes with the same sessions: two instances, with stores of their own where there is a server. */
export function nearProcesses(
  kind: AppKind,
  engine: EngineUnderTest,
  { session = {}, ...options }: SiteOptions = {},
  other: SiteOptions = {},
): NearProcesses {
  const lost = { isLost: false }
  const first = ageing(engine)()
  const second = engine.server() ? ageing(engine)() : first
  const here = processWith(kind, first, first.prefix, lost, {
    session: { near: '1m', ...session },
    ...options,
  })
  const elsewhere = processWith(kind, second, first.prefix, lost, {
    ...options,
    ...other,
    session: { near: '1m', ...session, ...other.session },
  })
  return {
    here,
    elsewhere,
    async advance(time) {
      await first.advance(time)
      if (second !== first) await second.advance(time)
    },
    loseMessages: () => void (lost.isLost = true),
  }
}

function processWith(
  kind: AppKind,
  { store }: Opened,
  prefix: string,
  lost: { readonly isLost: boolean },
  options: SiteOptions,
): NearProcess {
  const operations: string[] = []
  const changes: string[] = []
  spy(store, operations, changes, lost)
  const app = site(kind, { store, prefix }, options)
  async function cost(someone: Browser, path = '/'): Promise<string[]> {
    operations.length = 0
    await someone.get(path)
    return operations.filter(isOfSessions)
  }
  return {
    app,
    store,
    operations,
    changes,
    cost,
    browser(cookie) {
      const someone = app.browser()
      if (cookie !== undefined) someone.jar.set('sid', cookie)
      return someone
    },
    warm: (someone, path) =>
      until('a read asks nothing', async () => (await cost(someone, path)).length === 0).then(
        () => {},
      ),
  }
}

/** Notes what is asked of a store and what it was notified of, and can keep messages from their listeners. */
function spy(
  store: Store,
  operations: string[],
  changes: string[],
  lost: { readonly isLost: boolean },
): void {
  const [run, subscribe] = [store.run.bind(store), store.subscribe.bind(store)]
  store.run = (operation, ...rest) => {
    operations.push(operation.name)
    return run(operation, ...rest)
  }
  store.subscribe = (channel, listener, onGap) =>
    subscribe(
      channel,
      (message) => {
        if (lost.isLost) return
        listener(message)
        // A process that begins to read near announces itself with a question mark.
        if (!message.startsWith('?')) changes.push(message)
      },
      onGap,
    )
}
