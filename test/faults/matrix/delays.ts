/** How often it is looked whether this process runs, in ms. */
const BEAT = 4
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
  let lost = 0
  let last = performance.now()
  const late = (): number => Math.max(0, performance.now() - last - 2 * BEAT)
  const timer = setInterval(() => {
    lost += late()
    last = performance.now()
  }, BEAT)
  timer.unref()
  return {
    since() {
      const before = lost + late()
      return () => {
        const ms = lost + late() - before
        return { ms: Math.max(0, ms), spared: ms > 1 ? SPARED : 0 }
      }
    },
    end: () => clearInterval(timer),
  }
}
