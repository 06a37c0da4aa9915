/** Keeps the rules in a file, for a process that starts while Redis is away. */
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { MAX_RULES } from '../../control/rule-table.ts'
import type { EventBus } from '../../events.ts'
import { isObject } from '../../validate.ts'

/** No larger file is read. */
const MAX_BYTES = 40_000_000

/** The file of one instance. */
export class RuleSnapshot {
  readonly #path: string
  readonly #events: Pick<EventBus, 'warn'>
  /** The rules by ID, as Redis holds them. */
  readonly #rules = new Map<string, string>()
  #isStale = false
  #isWriting = false

  constructor(path: string, events: Pick<EventBus, 'warn'>) {
    this.#path = path
    this.#events = events
  }

  set(id: string, rule: string): void {
    if (this.#rules.size < MAX_RULES || this.#rules.has(id)) this.#rules.set(id, rule)
  }

  delete(id: string): void {
    this.#rules.delete(id)
  }

  clear(): void {
    this.#rules.clear()
  }

  /** Returns the rules of the file by ID. There are none if it is not there, or is no such file. */
  async read(): Promise<readonly (readonly [id: string, rule: string])[]> {
    try {
      if ((await stat(this.#path)).size > MAX_BYTES) throw new Error('it is larger than 40 MB')
      const document: unknown = JSON.parse(await readFile(this.#path, 'utf8'))
      const rules = isObject(document) ? document['rules'] : undefined
      if (!isObject(rules)) throw new Error('it holds no rules')
      return Object.entries(rules).filter(
        (each): each is [string, string] => typeof each[1] === 'string',
      )
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#warn('read', error)
      return []
    }
  }

  /** Writes the file in the background, once for changes that come together. */
  save(): void {
    this.#isStale = true
    if (this.#isWriting) return
    this.#isWriting = true
    void this.#writeUntilCurrent().finally(() => (this.#isWriting = false))
  }

  async #writeUntilCurrent(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false
      const draft = `${this.#path}.${process.pid}.tmp`
      try {
        const text = JSON.stringify({ rules: Object.fromEntries(this.#rules) })
        await writeFile(draft, text, { mode: 0o600 })
        // A process that reads never sees half a file.
        await rename(draft, this.#path)
      } catch (error) {
        await rm(draft, { force: true }).catch(() => {})
        this.#warn('written', error)
      }
    }
  }

  #warn(done: 'read' | 'written', error: unknown): void {
    this.#events.warn(
      `turnpike(): operations.snapshot: ${this.#path} cannot be ${done}: ${(error as Error).message}`,
    )
  }
}
