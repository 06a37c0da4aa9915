/** All checks of one server: facts in, findings out. */
import {
  keysWithoutTtl,
  stuckKeys,
  clockSkew,
  persistence,
  replication,
  encryption,
  user,
  permissions,
} from './data-checks.ts'
import type { ServerCheck } from './finding.ts'
import {
  connection,
  version,
  memory,
  fragmentation,
  evictionPolicy,
  evictions,
  hitRate,
  slowLog,
  clients,
  clusterState,
} from './resource-checks.ts'

/** All checks, in the order in which they are shown. */
export const SERVER_CHECKS: readonly ServerCheck[] = [
  connection,
  version,
  memory,
  fragmentation,
  evictionPolicy,
  evictions,
  hitRate,
  slowLog,
  keysWithoutTtl,
  stuckKeys,
  clockSkew,
  persistence,
  replication,
  encryption,
  user,
  permissions,
  clients,
  clusterState,
]
