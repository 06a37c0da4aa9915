/** Closes the parts of an instance in order, each within its time. */

/** What a context registered to be closed. */
export interface Closer {
  readonly name: string
  /** True if it is closed after all others. */
  readonly isLast: boolean
  close(signal: AbortSignal): Promise<void>
}

/** Time that a closer has to end once the drain is over, in ms. Handlers of jobs use 5 s of it. */
const GRACE = 6000

/**
 * Closes all, the last registered first. It never rejects: the other parts must close all the same.
 * @param drainMs time that work in progress may take
 * @param onError is called for a closer that fails, or that does not end
 */
export async function runClosers(
  closers: readonly Closer[],
  drainMs: number,
  onError: (name: string, error: unknown) => void,
): Promise<void> {
  const drain = new AbortController()
  const timer = setTimeout(() => drain.abort(), drainMs)
  const reversed = closers.toReversed()
  for (const closer of reversed.toSorted((a, b) => Number(a.isLast) - Number(b.isLast))) {
    try {
      await closeWithinGrace(closer, drain.signal)
    } catch (error) {
      onError(closer.name, error)
    }
  }
  clearTimeout(timer)
}

/** @throws if the closer has not ended in time: the process must end all the same */
async function closeWithinGrace(closer: Closer, drain: AbortSignal): Promise<void> {
  const ended = new AbortController()
  const late = new Promise<never>((_resolve, reject) => {
    function begin(): void {
      const message = `tp.close() goes on without this part: it has not ended ${GRACE / 1000} s after the drain.`
      const timer = setTimeout(() => reject(new Error(message)), GRACE)
      ended.signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
    }
    if (drain.aborted) begin()
    else drain.addEventListener('abort', begin, { once: true, signal: ended.signal })
  })
  try {
    await Promise.race([closer.close(drain), late])
  } finally {
    ended.abort()
  }
}
