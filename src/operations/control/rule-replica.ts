/**
 * The rules as one process holds them. A change is announced by a message, and the process reads the
 * one rule that it names. The version is compared at an interval, and all rules are read if it is
 * another one: so messages that are lost, doubled or out of order end in Redis's state.
 */
import { MAX_RULES, parseRuleId, RuleTable } from '../../control/rule-table.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { confirmVersion } from './confirmations.ts'
import { reportChange, reportLoad } from './rule-events.ts'
import {
  follows,
  parseAnnouncement,
  QUESTION,
  writesOf,
  writtenId,
  type AnnouncedChange,
} from './rule-messages.ts'
import {
  readRule,
  readRules,
  readRulesAt,
  readRulesVersion,
  RULES_TTL,
  rulesChannel,
  rulesKey,
  VERSION_FIELD,
} from './rule-operations.ts'
import type { RuleSnapshot } from './rule-snapshot.ts'
import { parseRule, type StoredAccessRule } from './stored-rule.ts'

/** Pauses between attempts to read, in ms. */
const FIRST_PAUSE = 50
const MAX_PAUSE = 1_000
/** Reads that are repeated because a change arrived meanwhile. Then the interval has to do. */
const MAX_READS = 5
/** Pause between two confirmations, in ms. */
const CONFIRM_PAUSE = 100

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
  readonly #process: string
  readonly #snapshot: RuleSnapshot | undefined
  /** The rules are those of the file. Whatever Redis says replaces them. */
  #isFromFile = false
  /** The version of the table, '' if none is stored or it was not read yet. */
  #version = ''
  /** The last change that a message has announced. */
  #announced: AnnouncedChange | undefined
  #isStale = false
  /** The version held is to be confirmed. */
  #isAsked = false
  /** Answers a question that came too early. */
  #question: NodeJS.Timeout | undefined
  /** When the version was confirmed last, by `performance.now()`. */
  #confirmedAt = -Infinity
  #isCatchingUp = false
  #isFailing = false
  #isSubscribed = false
  /** The application may not read the rules. */
  #isRefused = false

  /**
   * @param process its ID, as it reports
   * @param snapshot a file of the rules, if there is one
   */
  constructor(context: ReplicaContext, process: string, snapshot?: RuleSnapshot) {
    this.#snapshot = snapshot
    const { keys, store } = context
    this.#process = process
    this.#context = context
    this.#key = rulesKey(keys)
    this.#channel = rulesChannel(keys)
    this.table = new RuleTable(() => store.now())
  }

  /** The version of the rules that this process holds, '' if there are none. */
  get version(): string {
    return this.#version
  }

  /** Takes the rules of the file until Redis can be asked. */
  async load(): Promise<void> {
    for (const [id, rule] of (await this.#snapshot?.read()) ?? []) {
      this.#isFromFile = true
      this.#set(id, rule)
    }
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
      if (version === this.#version && !this.#isFromFile) return
      const rules = await readRulesAt(version, store, this.#key)
      // A change was received meanwhile. The reply may be older than it.
      if (rules === undefined || this.#version !== known) continue
      this.#replace(rules)
      // The process that made the change may wait for it. It could not be asked before.
      this.#isAsked = true
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

  /** Takes what this process has written. Returns the version afterwards. @throws TP_UNAVAILABLE */
  async takeWritten(id: string, reply: readonly (string | number)[]): Promise<string> {
    const [version = '', before = '', rule = ''] = reply.slice(1).map(String)
    this.#take(version, before, id, rule)
    // Another change came before this one, and its message is not here yet.
    if (this.#version !== version) await this.refresh()
    return version
  }

  /** Returns all rules in force as Redis holds them, by ID. @throws TP_UNAVAILABLE */
  async list(): Promise<Map<string, StoredAccessRule>> {
    const { store } = this.#context
    const { rules: stored } = await readRules(store, this.#key)
    const now = store.now()
    const rules = new Map<string, StoredAccessRule>()
    for (const [id, value] of stored) {
      const target = parseRuleId(id)
      const rule = target && parseRule(target, value)
      if (rule !== undefined && rule.until > now) rules.set(id, rule)
    }
    return rules
  }

  /** Takes a message. Anyone may publish one, so it says only what to read. */
  #receive(message: string): void {
    if (message === QUESTION) return this.#ask()
    const change = parseAnnouncement(message)
    if (change !== undefined && change.version === this.#version) return
    this.#announced = change
    this.catchUp()
  }

  /** Confirms the version held, soon: questions may come from anyone. */
  #ask(): void {
    this.#isAsked = true
    if (this.#question !== undefined) return
    const wait = this.#confirmedAt + CONFIRM_PAUSE - performance.now()
    if (wait <= 0) return this.catchUp()
    this.#question = setTimeout(() => {
      this.#question = undefined
      this.catchUp()
    }, wait)
    this.#question.unref()
  }

  /** Reads the change that was announced. Returns false unless it leads to Redis's state. */
  async #readAnnounced(): Promise<boolean> {
    const change = this.#announced
    this.#announced = undefined
    if (change === undefined || change.before !== this.#version) return false
    const { version, before } = change
    // Redis confirms the ID with the version: a message cannot name another rule than the changed one.
    const id = writtenId(version)
    if (id === undefined) return false
    const { store } = this.#context
    const [stored, rule] = await store.run(readRule, [this.#key], [VERSION_FIELD, id])
    return stored === version && this.#take(version, before, id, rule ?? '')
  }

  /** Makes one change that follows the version held. Returns false for any other. */
  #take(version: string, before: string, id: string, rule: string): boolean {
    // Between two versions that follow each other there is no other change, whatever a message says.
    if (before !== this.#version || !follows(version, before)) return false
    const isKnown = rule === '' ? this.#remove(id) : this.#set(id, rule)
    if (!isKnown) return false
    this.#setVersion(version)
    this.#snapshot?.save()
    reportChange(this.#context.events, this.table.total, version, id, rule)
    return true
  }

  #setVersion(version: string): void {
    this.#version = version
    this.table.writes = writesOf(version)
  }

  #remove(id: string): boolean {
    const target = parseRuleId(id)
    if (target !== undefined) this.table.delete(target)
    this.#snapshot?.delete(id)
    return target !== undefined
  }

  #set(id: string, value: string): boolean {
    const target = parseRuleId(id)
    const rule = target && parseRule(target, value)
    if (target === undefined || rule === undefined) return false
    this.table.set(target, rule)
    this.#snapshot?.set(id, value)
    return true
  }

  #replace(rules: ReadonlyMap<string, string>): void {
    this.table.clear()
    this.#snapshot?.clear()
    this.#isFromFile = false
    this.#setVersion('')
    let [count, unknown] = [0, 0]
    for (const [id, value] of rules) {
      if (id === VERSION_FIELD) this.#setVersion(value)
      // Another program with access to Redis may store millions of them.
      else if (count++ >= MAX_RULES || !this.#set(id, value)) unknown++
    }
    this.#snapshot?.save()
    reportLoad(this.#context.events, this.table.total, this.#version)
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
        if (this.#isAsked && !this.#isStale) await this.#confirm()
      } catch (error) {
        this.#report(error)
        this.#isStale = true
      }
      if (!this.#isStale) return
      await store.sleep(pause, closing, true).catch(() => {})
      pause = Math.min(pause * 2, MAX_PAUSE)
    }
  }

  /** Says which version this process holds. */
  async #confirm(): Promise<void> {
    this.#isAsked = false
    this.#confirmedAt = performance.now()
    try {
      await confirmVersion(this.#context, this.#process, this.#version)
    } catch (error) {
      // Rules apply all the same where a process may not confirm them.
      if (isUnavailable(error)) throw error
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
