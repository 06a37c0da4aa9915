/** The dashboard's connection to Redis. */
import type { CommandCall, CommandResult } from '../commands/command.ts'
import type { Command } from '../commands/command.ts'
import { createInstanceTarget } from '../commands/instance-target.ts'
import { MinuteHistory } from './minute-history.ts'
import type { RedisTarget, TargetInstance } from '../commands/target.ts'

/** Time without a command after which the connection is closed, in ms. */
const IDLE = 60_000

/** Runs commands for the pages. It connects at the first one, and ends what is not used. */
export class Connection {
  /** What graphs need of the last half hour. It outlives connections. */
  readonly history: MinuteHistory = new MinuteHistory()
  readonly #tp: TargetInstance
  #target: RedisTarget | undefined
  #running = 0
  #timer: NodeJS.Timeout | undefined

  constructor(tp: TargetInstance) {
    this.#tp = tp
  }

  /** Runs a command. @throws what the command throws */
  async run(
    command: Command,
    call: Pick<CommandCall, 'args' | 'options'> & Partial<Pick<CommandCall, 'confirm' | 'warn'>>,
    tenant?: string,
  ): Promise<CommandResult> {
    return await this.use(tenant, async (target) => {
      const whole: CommandCall = {
        env: {},
        now: Date.now,
        warn: () => {},
        confirm: () => Promise.resolve(false),
        ...call,
        target: () => Promise.resolve(target),
      }
      return await command.run(whole)
    })
  }

  /** Calls `read` with Redis as commands see it. */
  async use<Value>(
    tenant: string | undefined,
    read: (target: RedisTarget) => Promise<Value>,
  ): Promise<Value> {
    clearTimeout(this.#timer)
    this.#target ??= createInstanceTarget(this.#tp, { name: 'This instance', tenant: undefined })
    this.#running++
    try {
      return await read({ ...this.#target, tenant })
    } finally {
      if (--this.#running === 0) {
        this.#timer = setTimeout(() => void this.close(), IDLE)
        this.#timer.unref()
      }
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    const target = this.#target
    this.#target = undefined
    await target?.close()
  }
}
