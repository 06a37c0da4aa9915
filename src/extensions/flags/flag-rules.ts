/** The rules of all flags of one name, as this process holds them. */
import { ReplicatedDocument } from '../../documents/replicated-document.ts'
import type { ExtensionContext } from '../../extension.ts'
import { identifier, isObject } from '../../validate.ts'
import { CompiledRule, rulesOf, type StoredRule } from './rules.ts'

/** Stored rules by flag. What this version cannot read stays as it is. */
type StoredFlags = Readonly<Record<string, unknown>>

/** Flags with rules, of all applications that share the name. */
export const MAX_FLAGS = 500

export class FlagRules {
  readonly document: ReplicatedDocument<StoredFlags>
  readonly #context: ExtensionContext
  readonly #name: string
  #compiled: ReadonlyMap<string, readonly CompiledRule[]> = new Map()
  #stored: ReadonlyMap<string, readonly StoredRule[]> = new Map()

  constructor(context: ExtensionContext, name: string, refreshMs: number) {
    this.#context = context
    this.#name = name
    this.document = new ReplicatedDocument<StoredFlags>(context, {
      name: `flags-${name}`,
      where: 'flags()',
      initial: {},
      parse(json) {
        if (isObject(json)) return json
        throw new TypeError('The stored flags are no object.')
      },
      refreshMs,
      onChange: (stored) => this.#compile(stored),
    })
  }

  /** Returns the rules of a flag, undefined if none are stored. */
  compiled(flag: string): readonly CompiledRule[] | undefined {
    return this.#compiled.get(flag)
  }

  /** Returns the stored rules of all flags that this version can read. */
  get stored(): ReadonlyMap<string, readonly StoredRule[]> {
    return this.#stored
  }

  #compile(all: StoredFlags): void {
    const [stored, compiled] = [
      new Map<string, readonly StoredRule[]>(),
      new Map<string, readonly CompiledRule[]>(),
    ]
    for (const [flag, setting] of Object.entries(all)) {
      if (stored.size >= MAX_FLAGS) break
      try {
        if (!identifier.accepts(flag) || !Array.isArray(setting)) throw new TypeError('no rules')
        const rules = rulesOf('flags()', setting, undefined)
        stored.set(flag, rules)
        compiled.set(
          flag,
          rules.map((rule) => new CompiledRule(flag, rule)),
        )
      } catch {
        // An unknown condition must not be ignored: the flag would be on for more users than meant.
        this.#context.events.warn(
          `flags(): some rules stored for '${this.#name}' cannot be read, and the defaults of their flags apply. A newer version may have stored them. Store them again with set().`,
        )
      }
    }
    this.#stored = stored
    this.#compiled = compiled
  }
}
