/** Rules at run time: `tp.control`, `tp.gate()`. What changes and follows rules is loaded when it is needed. */
import type { Clock } from '../../clock.ts'
import type { MaintenanceSwitch } from '../../documents/maintenance-switch.ts'
import { ActiveRules, deniedRefusal } from '../../control/active-rules.ts'
import type { ExtensionContext } from '../../extension.ts'
import { passThrough, type Exchange, type Plan } from '../../http/exchange.ts'
import type { Refusal } from '../../http/refusal.ts'
import { andThen } from '../../http/promises.ts'
import { subjectTag, type KeyValue } from '../../store/subject.ts'
import { callback, validateOptions } from '../../validate.ts'
import { createBan } from './ban.ts'
import type { RuleOptions } from './change-options.ts'
import type {
  MaintenanceControl,
  MaintenanceReport,
  MaintenanceSettings,
} from './maintenance-options.ts'
import type { Control, ControlApi, GateOptions } from './options.ts'
import type { RuleReplica } from './rule-replica.ts'

/** What the control needs of its instance. */
export interface ControlParts {
  /** Identifies the instance among those that report. */
  readonly id: string
  /** Path of a file that keeps the rules. */
  readonly snapshot: string | undefined
  /** Pause between two comparisons with Redis, in ms. */
  readonly every: number
  readonly clock: Clock
}

/** The control of an instance. */
export interface RuntimeControl<Native, Middleware> {
  readonly api: ControlApi<Native, Middleware>
  readonly rules: ActiveRules
  /** Compares the rules with Redis, unless the gate or the control follows them already. */
  compare(): Promise<void>
}

/** Creates the control of an instance. */
export function createRuntimeControl<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  { id, snapshot, every, clock }: ControlParts,
): RuntimeControl<Native, Middleware> {
  const rules = new ActiveRules()
  const { closing, events } = context
  let opened: Promise<RuleReplica> | undefined
  let isFollowing = false

  async function create(): Promise<RuleReplica> {
    const { RuleReplica } = await import('./rule-replica.ts')
    const file = snapshot && new (await import('./rule-snapshot.ts')).RuleSnapshot(snapshot, events)
    const replica = new RuleReplica(context, id, file || undefined)
    await replica.load()
    rules.use(replica.table)
    return replica
  }

  const open = (): Promise<RuleReplica> => (opened ??= create())

  async function follow(): Promise<void> {
    isFollowing = true
    while (!closing.aborted) {
      const replica = await open()
      replica.catchUp()
      // Processes that were started together must not stay in step. Rejects when the instance is closed.
      await clock.sleep(every * (0.8 + Math.random() / 5), closing, true)
    }
  }

  /** Follows the rules closely from now on. */
  async function activate(): Promise<RuleReplica> {
    const replica = await open()
    replica.subscribe()
    if (isFollowing) replica.catchUp()
    else void follow().catch(() => {})
    return replica
  }

  let maintenance: Promise<HeldMaintenance> | undefined
  const switched = (): Promise<HeldMaintenance> => (maintenance ??= openMaintenance(context, every))
  let active: Promise<RuleReplica> | undefined
  const activated = (): Promise<RuleReplica> => (active ??= activate())
  const changes = async (): Promise<Omit<Control, keyof MaintenanceControl>> => {
    const [replica, { RuleChanges }] = await Promise.all([activated(), import('./rule-changes.ts')])
    return new RuleChanges(context, replica)
  }
  if (snapshot !== undefined) void activated()
  return {
    rules,
    async compare() {
      if (!isFollowing) (await open()).catchUp()
    },
    api: {
      control: {
        deny: async (target, options) => await (await changes()).deny(target, options),
        allow: async (target, options) => await (await changes()).allow(target, options),
        lift: async (target, options) => await (await changes()).lift(target, options),
        mode: async (limit, mode, options) => await (await changes()).mode(limit, mode, options),
        modes: async () => await (await changes()).modes(),
        policy: async (policy, values, options) =>
          await (await changes()).policy(policy, values, options),
        policies: async () => await (await changes()).policies(),
        maintenance: async (...change: MaintenanceArguments) =>
          await useSwitch(context, await switched(), change),
        clear: async (options) => await (await changes()).clear(options),
        rules: async () => await (await changes()).rules(),
        audit: async (options) => await (await changes()).audit(options),
        settled: async (version, options) => await (await changes()).settled(version, options),
        refresh: async () => await (await activated()).refresh(),
      },
      gate(options = {}) {
        validateOptions('tp.gate()', options, { subject: callback, reply: callback })
        void activated()
        const gate = createGate(context, rules, options)
        void switched().then((opened) => gate.heed(opened))
        return gate.middleware
      },
      ban(options) {
        const middleware = createBan(context, rules, activated, options)
        void activated()
        return middleware
      },
    },
  }
}

/** What `tp.control.maintenance()` is called with. */
type MaintenanceArguments = [] | [settings: MaintenanceSettings | 'off', options: RuleOptions]

/** Switches maintenance, or asks whether it is on. */
async function useSwitch(
  context: ExtensionContext,
  { held }: HeldMaintenance,
  change: MaintenanceArguments,
): Promise<MaintenanceReport> {
  const { changeMaintenance, reportOf } = await import('./maintenance-changes.ts')
  if (change.length > 0) return await changeMaintenance(context, held, change[0]!, change[1]!)
  await held.refresh()
  return reportOf(held.state, held.isOn)
}

/** The switch of maintenance, with what decides by it. */
interface HeldMaintenance {
  readonly held: MaintenanceSwitch
  /** Returns the refusal of a request that maintenance refuses, undefined for any other. */
  refusalOf(x: Exchange): Refusal | undefined
}

async function openMaintenance(context: ExtensionContext, every: number): Promise<HeldMaintenance> {
  const { DEFAULT_SWITCH, HEALTH_PATHS, isHealthCheck, openMaintenanceSwitch, RETRY_MS } =
    await import('../../documents/maintenance-switch.ts')
  const held = openMaintenanceSwitch(context, DEFAULT_SWITCH, every)
  return {
    held,
    refusalOf: (x) =>
      held.refuses(x) && !isHealthCheck(x, HEALTH_PATHS) ? held.refusal(RETRY_MS) : undefined,
  }
}

function createGate<Native, Middleware>(
  context: ExtensionContext<Native, Middleware>,
  rules: ActiveRules,
  { subject, reply }: GateOptions<Native>,
): { middleware: Middleware; heed(maintenance: HeldMaintenance): void } {
  let maintenance: HeldMaintenance | undefined

  const refuse = (refusal: Refusal): Plan => ({ refusal, replyWith: reply })

  function planOf(x: Exchange<Native>): Plan {
    const refusal = maintenance?.refusalOf(x)
    return refusal === undefined ? passThrough : refuse(refusal)
  }

  function planByRules(x: Exchange<Native>, ...tags: readonly string[]): Plan {
    return rules.effectOn(x.ip, ...tags) === 'deny' ? refuse(deniedRefusal) : planOf(x)
  }

  async function planBySubject(x: Exchange<Native>, value: KeyValue): Promise<Plan> {
    const tenant = await context.tenantOf(x.native)
    return planByRules(x, subjectTag(context.keys, value, tenant, 'tp.gate(): subject'))
  }

  const middleware = context.mount({
    name: 'gate',
    onBackground: 'skip',
    handle(x) {
      if (rules.size === 0) return planOf(x)
      if (subject === undefined) return planByRules(x)
      return andThen(subject(x.native), (value) =>
        value === undefined || value === null ? planByRules(x) : planBySubject(x, value),
      )
    },
  })
  return { middleware, heed: (opened) => void (maintenance = opened) }
}
