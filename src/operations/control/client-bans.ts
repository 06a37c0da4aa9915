/** Bans clients that match too often. Loaded with the first match. */
import { printDuration } from '../../duration.ts'
import type { RuleLookup } from '../../control/active-rules.ts'
import { addressRuleId } from '../../control/rule-table.ts'
import { isUnavailable } from '../../errors.ts'
import type { ExtensionContext } from '../../extension.ts'
import {
  isPublicAddress,
  parseAddressPrefix,
  type AddressPrefix,
} from '../../http/address-prefix.ts'
import { addressSubject } from '../../http/client-address.ts'
import { keyPart } from '../../store/keys.ts'
import { countBan, countMatch } from './ban-operations.ts'
import type { RuleReplica } from './rule-replica.ts'
import { RuleWriter } from './rule-writer.ts'

/** The options of a ban, with times in ms. */
export interface BanSettings {
  readonly name: string
  readonly limit: number
  readonly window: number
  /** How long the first ban of a client is. */
  readonly first: number
  readonly max: number
  readonly ipv6Subnet: number
}

/** Matches that are being counted at once. Further ones are not counted. */
const MAX_COUNTING = 1_000

/**
 * Returns what is banned for an address: itself, or its network of IPv6. Undefined for an address that
 * is never banned.
 */
function bannableNetwork(address: string, ipv6Subnet: number): AddressPrefix | undefined {
  const plain = address.split('/', 1)[0]!
  const subject = address.includes('/') ? address : addressSubject(plain, ipv6Subnet)
  const prefix = parseAddressPrefix(subject)
  return isPublicAddress(plain) ? prefix : undefined
}

/** Counts the matches of one mount of `tp.ban()`. */
export class ClientBans {
  readonly #context: ExtensionContext
  readonly #rules: RuleLookup
  readonly #writer: RuleWriter
  readonly #settings: BanSettings
  #counting = 0

  constructor(
    context: ExtensionContext,
    rules: RuleLookup,
    replica: RuleReplica,
    settings: BanSettings,
  ) {
    this.#context = context
    this.#rules = rules
    this.#writer = new RuleWriter(context, replica)
    this.#settings = settings
  }

  /** Counts a match of an address. Never rejects. */
  async count(address: string): Promise<void> {
    const network = bannableNetwork(address, this.#settings.ipv6Subnet)
    if (network === undefined || this.#counting >= MAX_COUNTING) return
    // A client that is allowed is never banned, and one that is refused is not counted again.
    if (this.#rules.size > 0 && this.#rules.effectOn(address.split('/', 1)[0]!)) return
    this.#counting++
    try {
      await this.#count(network)
    } catch (error) {
      this.#report(error)
    } finally {
      this.#counting--
    }
  }

  async #count(network: AddressPrefix): Promise<void> {
    const { keys, store } = this.#context
    const { first, limit, max, name, window } = this.#settings
    const tag = keys.tag(network.text, undefined, true)
    const bansKey = keys.key('bans', tag, keyPart(name))
    const args = [limit, window]
    const [isTooMany, before] = await store.run(
      countMatch,
      [keys.key('matches', tag, keyPart(name)), bansKey],
      args,
    )
    if (isTooMany === 0) return
    const ms = Math.min(first * 2 ** Math.min(before, 40), max)
    const reason = `more than ${limit} matches in ${printDuration(window)}`
    const outcome = await this.#writer.ban(addressRuleId(network), { name, reason, ms })
    if (outcome === 'known') return
    if (outcome === 'banned') await store.run(countBan, [bansKey], [2 * ms + window])
    this.#tell(outcome, network.text, ms)
  }

  #tell(outcome: 'banned' | 'too-many' | 'full', address: string, ms: number): void {
    const { events } = this.#context
    const { name } = this.#settings
    const type = outcome === 'banned' ? 'banned' : 'shadow'
    events.counts.row('ban', name).count(type)
    const reason = outcome === 'banned' ? undefined : outcome
    events.emit('ban', { name, type, address, forMs: ms, reason })
    if (outcome === 'too-many')
      events.warn(
        `tp.ban('${name}'): 60 clients were banned within a minute. Further ones are only reported. Look at \`npx turnpike rules\`: an attack, or a \`match\` that is too broad.`,
      )
    if (outcome === 'full')
      events.warn(
        `tp.ban('${name}'): there is no room for further rules, so clients are only reported. Deny a network in place of its addresses, or ban for a shorter time.`,
      )
  }

  #report(error: unknown): void {
    const { closing, events } = this.#context
    const { name } = this.#settings
    if (closing.aborted) return
    if (isUnavailable(error)) {
      const { reason, uncertain } = error
      events.emit('unavailable', { feature: 'ban', name, reason, uncertain, rule: 'skip' })
    } else events.emit('error', { feature: 'ban', name, error })
  }
}
