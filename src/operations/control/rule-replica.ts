/**
 * The rules as one process holds them. A change is announced by a message, and the process reads the
 * one rule that it names. The version is compared at an interval, and all rules are read if it is
 * another one: so messages that are lost, doubled or out of order end in Redis's state.
 */
import { randomBytes } from 'node:crypto'
import { MAX_RULES, parseRuleId, RuleTable } from '../../control/rule-table.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { auditArguments, auditKey, type AuditEntry } from '../audit.ts'
import {
  readRule,
  readRules,
  readRulesVersion,
  RULES_TTL,
  rulesChannel,
  rulesKey,
  VERSION_FIELD,
  writeRule,
} from './rule-operations.ts'
import { parseRule, type StoredAccessRule } from './stored-rule.ts'

/** What came of a change. */
export interface WrittenRule {
  /** False if there was no rule to remove. */
  readonly changed: boolean
  /** The version of the rules afterwards. */
  readonly version: string
}

/** A change as a message announces it. */
interface AnnouncedChange {
  readonly version: string
  readonly before: string
}

/** A version of the rules. It ends with the ID of the rule that was written last. */
const VERSION = /^\d{1,15}\.[\w-]{1,40} (.+)$/

/** Pauses between attempts to read, in ms. */
const FIRST_PAUSE = 50
const MAX_PAUSE = 1_000
/** Reads that are repeated because a change arrived meanwhile. Then the interval has to do. */
const MAX_READS = 5

/** Returns the number of writes that a version counts. */
const writesOf = (version: string): number => Number(/^\d+/.exec(version)?.[0] ?? 0)

type ReplicaContext = Pick<
  ExtensionContext,
  'name' | 'store' | 'keys' | 'events' | 'closing' | 'onClose'
>

/** The rules of one instance. */
export class RuleReplica {
  readonly table: RuleTable
  readonly #context: ReplicaContext
  readonly #key: string
  readonly #channel: string
  /** The version of the table, '' if none is stored or it was not read yet. */
  #version = ''
  /** The last change that a message has announced. */
  #announced: AnnouncedChange | undefined
  #isStale = false
  #isCatchingUp = false
  #isFailing = false
  #isSubscribed = false
  /** The application may not read the rules. */
  #isRefused = false

  constructor(context: ReplicaContext) {
    const { keys, store } = context
    this.#context = context
    this.#key = rulesKey(keys)
    this.#channel = rulesChannel(keys)
    this.table = new RuleTable(() => store.now())
  }

  /** The version of the rules that this process holds, '' if there are none. */
  get version(): string {
    return this.#version
  }

  /** Receives changes as they are made from now on. */
  subscribe(): void {
    if (this.#isSubscribed || this.#context.closing.aborted) return
    this.#isSubscribed = true
    const unsubscribe = this.#context.store.subscribe(
      this.#channel,
      (message) => this.#receive(message),
      () => this.catchUp(),
    )
    this.#context.onClose(async () => unsubscribe())
  }

  /**
   * Makes the table what Redis holds. One round trip if nothing has changed.
   * @throws TP_UNAVAILABLE, TP_COMMAND
   */
  async refresh(): Promise<void> {
    const { store } = this.#context
    for (let i = 0; i < MAX_READS; i++) {
      if (await this.#readAnnounced()) return
      const known = this.#version
      const version = await store.run(readRulesVersion, [this.#key], [RULES_TTL])
      if (version === this.#version) return
      const fields = version === '' ? [] : await store.run(readRules, [this.#key], [])
      // A change was received meanwhile. The reply may be older than it.
      if (this.#version !== known) continue
      this.#replace(fields.flat())
      // The next change must come at once. Processes of an application without rules need no message.
      if (version !== '') this.subscribe()
      return
    }
    this.#isStale = true
  }

  /** Reads the rules until the last reason to read them was before the last read. */
  catchUp(): void {
    this.#isStale = true
    if (this.#isCatchingUp) return
    this.#isCatchingUp = true
    void this.#readUntilCurrent().finally(() => (this.#isCatchingUp = false))
  }

  /**
   * Sets a rule, or removes it if there are no `details`. Resolves when Redis and this process have
   * the change.
   * @param ms time until the rule ends, 0: never
   * @returns undefined if there are too many rules
   * @throws TP_UNAVAILABLE
   */
  async write(
    id: string,
    details: string,
    ms: number,
    entry: Omit<AuditEntry, 'at'>,
  ): Promise<WrittenRule | undefined> {
    const { keys, store } = this.#context
    const nonce = randomBytes(9).toString('base64url')
    const args = [id, details, ms, MAX_RULES, RULES_TTL, nonce, this.#channel]
    let reply: readonly (number | string)[]
    try {
      reply = await store.run(
        writeRule,
        [this.#key, auditKey(keys)],
        [...args, ...auditArguments(entry)],
      )
    } catch (error) {
      // It may have been stored all the same.
      if (isUnavailable(error) && error.uncertain) this.catchUp()
      throw error
    }
    const [state, version, before, rule] = reply
    if (state === -1) return undefined
    if (state === 0) return { changed: false, version: this.#version }
    this.#take(String(version), String(before), id, String(rule))
    // Another change came before this one, and its message is not here yet.
    if (this.#version !== version) await this.refresh()
    return { changed: true, version: String(version) }
  }

  /** Returns all rules in force as Redis holds them, by ID. @throws TP_UNAVAILABLE */
  async list(): Promise<Map<string, StoredAccessRule>> {
    const { store } = this.#context
    const fields = (await store.run(readRules, [this.#key], [])).flat()
    const now = store.now()
    const rules = new Map<string, StoredAccessRule>()
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const target = parseRuleId(fields[i]!)
      const rule = target && parseRule(target, fields[i + 1]!)
      if (rule !== undefined && rule.until > now) rules.set(fields[i]!, rule)
    }
    return rules
  }

  /** Takes a message. Anyone may publish one, so it says only what to read. */
  #receive(message: string): void {
    const [version = '', before] = message.split('\n', 2)
    if (version === this.#version) return
    this.#announced = before === undefined ? undefined : { version, before }
    this.catchUp()
  }

  /** Reads the change that was announced. Returns false unless it leads to Redis's state. */
  async #readAnnounced(): Promise<boolean> {
    const change = this.#announced
    this.#announced = undefined
    if (change === undefined || change.before !== this.#version) return false
    const { version, before } = change
    // Redis confirms the ID with the version: a message cannot name another rule than the changed one.
    const [, id] = VERSION.exec(version) ?? []
    if (id === undefined || parseRuleId(id) === undefined) return false
    const { store } = this.#context
    const [stored, rule] = await store.run(readRule, [this.#key], [VERSION_FIELD, id])
    return stored === version && this.#take(version, before, id, rule ?? '')
  }

  /** Makes one change that follows the version held. Returns false for any other. */
  #take(version: string, before: string, id: string, rule: string): boolean {
    // Between two versions that follow each other there is no other change, whatever a message says.
    const follows = before === this.#version && writesOf(version) === writesOf(before) + 1
    if (!follows) return false
    const isKnown = rule === '' ? this.#remove(id) : this.#set(id, rule)
    if (isKnown) this.#version = version
    return isKnown
  }

  #remove(id: string): boolean {
    const target = parseRuleId(id)
    if (target !== undefined) this.table.delete(target)
    return target !== undefined
  }

  #set(id: string, value: string): boolean {
    const target = parseRuleId(id)
    const rule = target && parseRule(target, value)
    if (target === undefined || rule === undefined) return false
    this.table.set(target, rule)
    return true
  }

  #replace(fields: readonly string[]): void {
    this.table.clear()
    this.#version = ''
    let unknown = 0
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const [id, value] = [fields[i]!, fields[i + 1]!]
      if (id === VERSION_FIELD) this.#version = value
      else if (!this.#set(id, value)) unknown++
    }
    if (unknown > 0)
      this.#context.events.warn(
        'tp.control: some stored rules cannot be read, and do not apply. A newer version may have stored them.',
      )
  }

  async #readUntilCurrent(): Promise<void> {
    const { closing, store } = this.#context
    let pause = FIRST_PAUSE
    while (this.#isStale && !this.#isRefused && !closing.aborted) {
      this.#isStale = false
      try {
        await this.refresh()
        this.#isFailing = false
      } catch (error) {
        this.#report(error)
        this.#isStale = true
      }
      if (!this.#isStale) return
      await store.sleep(pause, closing, true).catch(() => {})
      pause = Math.min(pause * 2, MAX_PAUSE)
    }
  }

  /** Reports the first failure of several. */
  #report(error: unknown): void {
    const { closing, events, name: feature } = this.#context
    if (closing.aborted) return
    if (!isUnavailable(error)) {
      this.#isRefused = true
      return events.warn(
        `tp.control: this process cannot read the rules, and the last ones stay: ${(error as Error).message}`,
      )
    }
    if (this.#isFailing) return
    this.#isFailing = true
    const { reason, uncertain } = error
    events.emit('unavailable', { feature, name: 'rules', reason, uncertain, rule: 'keep' })
  }
}
