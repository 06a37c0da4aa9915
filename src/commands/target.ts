/** The Redis that a command reads, and the keys of one application there. */
import type { Duration } from '../duration.ts'
import type { Instance } from '../extension.ts'
import type { Caching } from '../features/cache/index.ts'
import type { Locking } from '../features/lock/index.ts'
import type { Sessions } from '../features/session/index.ts'
import type { ControlApi } from '../operations/control/options.ts'
import type { KeySpace } from '../store/keys.ts'
import type { ServerAccess } from '../store/server-access.ts'

/** What commands use of an instance. */
export interface TargetInstance
  extends
    Instance,
    Pick<Caching<any, any>, 'cache'>,
    Pick<ControlApi<any, any>, 'control'>,
    Pick<Locking<any, any>, 'locks'>,
    Pick<Sessions<any, any>, 'session' | 'sessions'> {
  ready(timeout?: Duration): Promise<void>
}

/** A server, and which data are on it. */
export interface TargetServer {
  readonly access: ServerAccess
  readonly areas: readonly string[]
  readonly db: number | undefined
}

/** The Redis and the keys of one application. */
export interface RedisTarget {
  /** Prefix and version, as keys begin. */
  readonly start: string
  readonly tenant: string | undefined
  /** True if the application's own module is known. */
  readonly hasApp: boolean
  /** @param reported the version that processes report, used where the options name none */
  keys(area: string, reported?: string): KeySpace
  /** Returns the connection to the server of an area. */
  access(area: string): Promise<ServerAccess>
  /** Returns all servers. */
  servers(): Promise<TargetServer[]>
  /**
   * Returns an instance over the same Redis, for changes: they run as the application's own. Call it
   * after `access`.
   */
  instance(): TargetInstance
  close(): Promise<void>
}
