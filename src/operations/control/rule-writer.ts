/** Writes rules: those that people set, and those of bans. */
import { printDuration } from '../../duration.ts'
import { randomBytes } from 'node:crypto'
import { MAX_RULES } from '../../control/rule-table.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import { auditArguments, auditKey, type AuditEntry } from '../audit.ts'
import {
  banAuditKey,
  clearRules,
  lastBansKey,
  RULES_TTL,
  rulesChannel,
  rulesKey,
  writeRule,
} from './rule-operations.ts'
import type { RuleReplica } from './rule-replica.ts'

/** What came of a change. */
export interface WrittenRule {
  /** False if there was no rule to remove. */
  readonly changed: boolean
  /** The version of the rules afterwards. */
  readonly version: string
}

/** Largest number of rules where a ban is added. People have the rest. */
const MAX_BANS = 9_000
/** Largest number of new bans within a minute, in all processes. */
const MAX_NEW_BANS = 60

/** Writes the rules of one instance. */
export class RuleWriter {
  readonly #context: Pick<ExtensionContext, 'keys' | 'store'>
  readonly #replica: RuleReplica

  /** @param replica takes what is written */
  constructor(context: Pick<ExtensionContext, 'keys' | 'store'>, replica: RuleReplica) {
    this.#context = context
    this.#replica = replica
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
    const { keys } = this.#context
    const keysOfChange = [rulesKey(keys), auditKey(keys)]
    const reply = await this.#send(keysOfChange, [id, details, ms, MAX_RULES], entry)
    if (reply[0] === -1) return undefined
    if (reply[0] === 0) return { changed: false, version: this.#replica.version }
    return { changed: true, version: await this.#replica.takeWritten(id, reply) }
  }

  /**
   * Bans a client, unless there is a rule for it already.
   * @returns `known` if there is one, `too-many` if there were 60 bans within a minute, `full` if there
   *   are too many rules
   * @throws TP_UNAVAILABLE
   */
  async ban(
    id: string,
    { name, reason, ms }: { name: string; reason: string; ms: number },
  ): Promise<'banned' | 'known' | 'too-many' | 'full'> {
    const { keys } = this.#context
    const by = `ban ${name}`
    const details = JSON.stringify({ effect: 'deny', by, reason, ban: name })
    const entry = { action: 'ban', by, reason, subject: `${id.slice(2)} for ${printDuration(ms)}` }
    const keysOfBan = [rulesKey(keys), banAuditKey(keys), lastBansKey(keys)]
    const reply = await this.#send(keysOfBan, [id, details, ms, MAX_BANS], entry, [MAX_NEW_BANS])
    if (reply[0] === -1) return 'full'
    if (reply[0] === -2) return 'known'
    if (reply[0] === -3) return 'too-many'
    await this.#replica.takeWritten(id, reply)
    return 'banned'
  }

  /** Removes all rules, or those of bans. Returns how many there were. @throws TP_UNAVAILABLE */
  async clear(which: 'all' | 'bans', entry: Omit<AuditEntry, 'at'>): Promise<number> {
    const { keys, store } = this.#context
    const nonce = randomBytes(9).toString('base64url')
    const args = [which, RULES_TTL, nonce, rulesChannel(keys), ...auditArguments(entry)]
    const count = await store.run(clearRules, [rulesKey(keys), auditKey(keys)], args)
    await this.#replica.refresh()
    return count
  }

  async #send(
    keysOfChange: readonly string[],
    rule: readonly (string | number)[],
    entry: Omit<AuditEntry, 'at'>,
    more: readonly number[] = [],
  ): Promise<readonly (string | number)[]> {
    const { keys, store } = this.#context
    const nonce = randomBytes(9).toString('base64url')
    const args = [...rule, RULES_TTL, nonce, rulesChannel(keys), ...auditArguments(entry), ...more]
    try {
      return await store.run(writeRule, keysOfChange, args)
    } catch (error) {
      // It may have been stored all the same.
      if (isUnavailable(error) && error.uncertain) this.#replica.catchUp()
      throw error
    }
  }
}
