import { Starvation } from '../../support/starvation.ts'

/** A call whose time ran out while nothing could run gets so many ms more (src/store/guard.ts). */
const SPARED = 30

export interface Lost {
  /** For so long this process did not run. */
  ms: number
  /** So much longer a call may have been waited for because of that. */
  spared: number
}

/** Watches for how long this process is kept from running: by its own tests, or by others on the machine. */
export function delays(): {
  /** Gives a function for what a request begun now has lost by it. */
  since(): () => Lost
  end(): void
} {
  const watch = new Starvation()
  return {
    since() {
      const before = watch.lost
      return () => {
        const ms = Math.max(0, watch.lost - before)
        return { ms, spared: ms > 1 ? SPARED : 0 }
      }
    },
    end: () => watch.end(),
  }
}
