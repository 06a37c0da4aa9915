/** What the processes of an application say of themselves, read with the commands of a viewer. */
import { reportedPolicy, type ReportedPolicy } from '../features/rate-limit/inspection.ts'
import { readMounts, type ProcessReport, type ReportSource } from '../operations/processes.ts'
import type { Operation, OperationArgument, OperationReply } from '../store/store.ts'
import { serverTime } from './find-keys.ts'
import type { RedisTarget } from './target.ts'

/** Returns where the reports of a target are. */
export async function reportSource(target: RedisTarget): Promise<ReportSource> {
  const access = await target.access('operations')
  const skew = (await serverTime(access)) - Date.now()
  const run = async <Result extends OperationReply>(
    { command, name }: Operation<Result>,
    keys: readonly string[],
    args: readonly OperationArgument[],
  ): Promise<Result> => {
    if (command === undefined) throw new Error(`${name} is no read command`)
    return (await access.send(command, ...keys, ...args.map(String))) as Result
  }
  return { store: { run, now: () => Date.now() + skew }, keys: target.keys('operations') }
}

/** A limit that processes have mounted. */
export interface ReportedLimit {
  readonly kind: string
  readonly name: string
  readonly version: string | undefined
  /** True if it reads the overrides of subjects. */
  readonly overrides: boolean
  readonly policies: readonly ReportedPolicy[]
}

/** What processes have mounted, and where they disagree. */
export interface ReportedApplication {
  readonly limits: readonly ReportedLimit[]
  /** Mounts that differ between processes: `rateLimit api`. */
  readonly differing: readonly string[]
}

const LIMIT_KINDS = ['rateLimit', 'limiter', 'loginGuard']

/** Returns what the processes have mounted. */
export async function readApplication(
  source: ReportSource,
  processes: readonly ProcessReport[],
): Promise<ReportedApplication> {
  const digests = new Set(processes.flatMap(({ description = [] }) => description))
  const limits = new Map<string, ReportedLimit>()
  const settings = new Map<string, Set<string>>()
  for (const digest of digests) {
    const reported = await readMounts(source, digest)
    for (const mount of reported?.mounts ?? []) {
      const { kind, name } = mount
      const id = `${kind} ${name}`
      settings.set(id, (settings.get(id) ?? new Set()).add(JSON.stringify(mount.settings)))
      if (!LIMIT_KINDS.includes(kind)) continue
      const given = mount.settings['policies']
      const policies = (Array.isArray(given) ? given : []).flatMap(
        (each) => reportedPolicy(each) ?? [],
      )
      const version = reported?.version ?? undefined
      const overrides = mount.settings['overrides'] === true
      limits.set(`${id} ${version}`, { kind, name, version, overrides, policies })
    }
  }
  return {
    limits: [...limits.values()],
    differing: [...settings].filter(([, each]) => each.size > 1).map(([id]) => id),
  }
}
