/** The switch of maintenance mode, as Redis keeps it. */
import { documentContent, documentKey } from '../../documents/document-operations.ts'
import { ReplicatedDocument } from '../../documents/replicated-document.ts'
import type { ExtensionContext } from '../../extension.ts'
import type { KeySpace } from '../../store/keys.ts'
import { isObject } from '../../validate.ts'

/** The stored state. */
export interface MaintenanceState {
  readonly on: boolean
  /** When it was switched, in ms since the epoch. */
  readonly since?: number | undefined
  readonly by?: string | undefined
  readonly detail?: string | undefined
  readonly retryAfterMs?: number | undefined
}

/** Characters of `by`. */
export const MAX_BY = 200
/** Characters of `detail`. */
export const MAX_DETAIL = 500

/** A switch that this process holds. */
export interface MaintenanceSwitch {
  readonly state: MaintenanceState
  /** Switches all processes. @throws TP_UNAVAILABLE */
  change(next: Omit<MaintenanceState, 'since'>): Promise<void>
  /** @throws TP_UNAVAILABLE */
  refresh(): Promise<void>
}

const documentName = (name: string): string => `maintenance-${name}`

/**
 * Opens a switch, or returns the one that this process holds.
 * @param refreshMs how often Redis is asked, in ms. The first caller's counts
 */
export function openMaintenanceSwitch(
  context: ExtensionContext,
  name: string,
  refreshMs: number,
): MaintenanceSwitch {
  const document = context.once(
    `maintenance ${name}`,
    () =>
      new ReplicatedDocument<MaintenanceState>(context, {
        name: documentName(name),
        where: 'maintenance()',
        initial: { on: false },
        parse: stateOf,
        refreshMs,
      }),
  )
  return {
    get state() {
      return document.value
    },
    async change(next) {
      const changed = { ...next, since: context.store.now() }
      await document.update(() => changed, changed)
    },
    refresh: async () => await document.refresh(),
  }
}

/** Returns the key of a switch, for programs that read it without a script. */
export const maintenanceKey = (keys: KeySpace, name: string): string =>
  documentKey(keys, documentName(name))

/** Returns the state that a key's value holds. What cannot be read counts as never switched. */
export function inspectMaintenance(stored: string | null): MaintenanceState {
  try {
    return stateOf(JSON.parse(documentContent(stored ?? '') ?? ''))
  } catch {
    return { on: false }
  }
}

/** Returns the stored state. @throws TypeError for what is none: the process keeps the state that it has */
function stateOf(json: unknown): MaintenanceState {
  if (!isObject(json) || typeof json['on'] !== 'boolean')
    throw new TypeError('The stored switch of maintenance cannot be read.')
  const { on, since, by, detail, retryAfterMs } = json
  return {
    on,
    since: typeof since === 'number' ? since : undefined,
    by: typeof by === 'string' ? by : undefined,
    detail: typeof detail === 'string' ? detail : undefined,
    retryAfterMs: typeof retryAfterMs === 'number' && retryAfterMs > 0 ? retryAfterMs : undefined,
  }
}
