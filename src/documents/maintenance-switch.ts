/** The switch of maintenance: one for `maintenance()`, `tp.gate()`, `tp.control` and the program `turnpike`. */
import type { ExtensionContext } from '../extension.ts'
import { isInside, parseAddressPrefix, type AddressPrefix } from '../http/address-prefix.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Refusal } from '../http/refusal.ts'
import type { KeySpace } from '../store/keys.ts'
import { isObject } from '../validate.ts'
import { documentContent, documentKey } from './document-operations.ts'
import { ReplicatedDocument } from './replicated-document.ts'

/** The stored state. */
export interface StoredMaintenance {
  readonly on: boolean
  /** When it was switched, in ms since the epoch. */
  readonly since?: number | undefined
  /** When it ends by itself, in ms since the epoch. Undefined: when it is switched off. */
  readonly until?: number | undefined
  readonly by?: string | undefined
  readonly reason?: string | undefined
  readonly detail?: string | undefined
  readonly retryAfterMs?: number | undefined
  /** Addresses and networks that pass. */
  readonly allow?: readonly string[] | undefined
  /** Paths that pass, with all below them. */
  readonly bypass?: readonly string[] | undefined
}

/** Characters of `by`. */
export const MAX_BY = 200
/** Characters of `detail`. */
export const MAX_DETAIL = 500
/** Addresses and networks of `allow`, and paths of `bypass`. */
export const MAX_EXEMPT = 100
/** Paths of health checks. */
export const HEALTH_PATHS: readonly string[] = ['/health', '/healthz', '/livez', '/readyz']
/** Retry-After where nothing names another, in ms. */
export const RETRY_MS = 300_000
/** The switch that the gate heeds. */
export const DEFAULT_SWITCH = 'default'

/** Returns true for a path that `bypass` may name. '' and '/' would be every path. */
export const isBypass = (path: string): boolean => /^\/[^?#]*[^/?#]$/.test(path)

const DETAIL = 'The service is under maintenance. Try again later.'

const documentName = (name: string): string => `maintenance-${name}`

/** A switch as one process holds it. */
export class MaintenanceSwitch {
  readonly #store: Pick<ExtensionContext['store'], 'now'>
  readonly #document: ReplicatedDocument<StoredMaintenance>
  readonly #settings: { refreshMs: number }
  #allowed: readonly AddressPrefix[] = []

  constructor(context: ExtensionContext, name: string, refreshMs: number) {
    const onChange = ({ allow = [] }: StoredMaintenance): void => {
      this.#allowed = allow.flatMap((each) => parseAddressPrefix(each) ?? [])
    }
    const initial: StoredMaintenance = { on: false }
    const [where, parse] = ['maintenance()', stateOf]
    const settings = { name: documentName(name), where, initial, parse, refreshMs, onChange }
    this.#settings = settings
    this.#store = context.store
    this.#document = new ReplicatedDocument(context, settings)
    context.events.counts.readFrom('maintenance', name, () => (this.isOn ? 1 : 0))
  }

  get state(): StoredMaintenance {
    return this.#document.value
  }

  get isOn(): boolean {
    const { on, until } = this.#document.value
    return on && (until === undefined || until > this.#store.now())
  }

  /** Asks Redis at least as often as every `refreshMs`, from the next time on. */
  refreshEvery(refreshMs: number): void {
    this.#settings.refreshMs = Math.min(this.#settings.refreshMs, refreshMs)
  }

  /** Returns true if a request is refused: `allow` and `bypass` of the switch do not let it pass. */
  refuses(x: Exchange): boolean {
    if (!this.isOn) return false
    if (this.#allowed.length > 0 && isInside(this.#allowed, x.ip)) return false
    return !isBelow(x, this.state.bypass ?? [])
  }

  refusal(standardRetryMs: number): Refusal {
    const { detail = DETAIL, retryAfterMs = standardRetryMs } = this.state
    return { status: 503, code: 'TP_MAINTENANCE', detail, retryAfterMs }
  }

  /** Switches all processes. Returns the state afterwards. @throws TP_UNAVAILABLE, TP_VALUE */
  async change(
    next: Omit<StoredMaintenance, 'since' | 'until'>,
    ms?: number,
  ): Promise<StoredMaintenance> {
    const since = this.#store.now()
    const changed = { ...next, since, until: ms === undefined ? undefined : since + ms }
    const { on, by, reason } = next
    return await this.#document.update(() => changed, { on, by, reason })
  }

  /** @throws TP_UNAVAILABLE */
  async refresh(): Promise<void> {
    await this.#document.refresh()
  }
}

/**
 * Opens a switch, or returns the one that this process holds.
 * @param context of `operations`: all releases of an application are switched together
 */
export function openMaintenanceSwitch(
  context: ExtensionContext,
  name: string,
  refreshMs: number,
): MaintenanceSwitch {
  const held = context.once(
    documentName(name),
    () => new MaintenanceSwitch(context, name, refreshMs),
  )
  held.refreshEvery(refreshMs)
  return held
}

/** Returns true for a GET or HEAD request to a health check. */
export const isHealthCheck = (x: Exchange, paths: readonly string[]): boolean =>
  (x.method === 'GET' || x.method === 'HEAD') && isBelow(x, paths)

/** Returns true if the path of a request is one of these, or below one. */
function isBelow({ url }: Exchange, paths: readonly string[]): boolean {
  if (paths.length === 0) return false
  const end = url.indexOf('?')
  const path = end < 0 ? url : url.slice(0, end)
  if (!paths.some((each) => path === each || path.startsWith(`${each}/`))) return false
  // A proxy behind this one may resolve /health/../admin.
  return !/\.\.|%2e/i.test(path)
}

/** Returns the key of a switch, for programs that read it without a script. */
export const maintenanceKey = (keys: KeySpace, name: string): string =>
  documentKey(keys, documentName(name))

/** Returns the state that a key's value holds. What cannot be read counts as never switched. */
export function inspectMaintenance(stored: string | null): StoredMaintenance {
  try {
    return stateOf(JSON.parse(documentContent(stored ?? '') ?? ''))
  } catch {
    return { on: false }
  }
}

/** Returns the stored state. @throws TypeError for what is none: the process keeps the state that it has */
function stateOf(json: unknown): StoredMaintenance {
  if (!isObject(json) || typeof json['on'] !== 'boolean')
    throw new TypeError('The stored switch of maintenance cannot be read.')
  const time = (value: unknown): number | undefined =>
    typeof value === 'number' && value > 0 ? value : undefined
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' ? value : undefined
  const texts = (value: unknown): string[] | undefined =>
    Array.isArray(value)
      ? value.slice(0, MAX_EXEMPT).flatMap((each) => text(each) ?? [])
      : undefined
  return {
    on: json['on'],
    since: time(json['since']),
    until: time(json['until']),
    by: text(json['by']),
    reason: text(json['reason']),
    detail: text(json['detail']),
    retryAfterMs: time(json['retryAfterMs']),
    allow: texts(json['allow']),
    bypass: texts(json['bypass'])?.filter(isBypass),
  }
}
