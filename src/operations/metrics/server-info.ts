/** What Redis says of itself, for metrics. */
import type { Store } from '../../store/store.ts'

/** How long an answer is reused before Redis is asked again, in ms. */
const REUSE = 5000

/** Fields of INFO by store. */
export type ServerInfo = ReadonlyMap<string, Readonly<Record<string, string>>>

/** Asks the servers of an instance by INFO, at most once in five seconds. */
export class ServerInfoReader {
  readonly #stores: () => ReadonlyMap<string, Store>
  #last: Promise<ServerInfo> | undefined
  #askedAt = -Infinity

  /** @param stores returns the open stores by name */
  constructor(stores: () => ReadonlyMap<string, Store>) {
    this.#stores = stores
  }

  /** Returns what the servers said. One that does not answer is missing, and so are Clusters: they are several servers. */
  read(): Promise<ServerInfo> {
    const now = performance.now()
    if (this.#last === undefined || now - this.#askedAt >= REUSE) {
      this.#askedAt = now
      this.#last = this.#ask()
    }
    return this.#last
  }

  async #ask(): Promise<ServerInfo> {
    const asked = [...this.#stores()].filter(
      ([, { kind, cluster }]) => kind === 'redis' && !cluster,
    )
    const answers = await Promise.all(
      asked.map(async ([name, store]) => [name, await store.info().catch(() => ({}))] as const),
    )
    return new Map(answers)
  }
}
