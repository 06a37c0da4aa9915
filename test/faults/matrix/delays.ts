import { Starvation } from '../../support/starvation.ts'

/** Extra ms for a call whose timeout passed while the process could not run (src/store/connection-guard.ts). */
const SPARED = 30

export interface Lost {
  /** How long this process could not run, in ms. */
  ms: number
  /** How much longer a call may take because of that, in ms. */
  spared: number
}

/** Measures how long this process cannot run because of its own tests or other load on the machine. */
export function delays(): {
  /** Returns a function that reports the time lost since now. */
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
