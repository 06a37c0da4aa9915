/** SIGTERM: workers take no further job, those in progress end, and then the process does. */

type Drain = () => Promise<void>

const drains = new Set<Drain>()

/** Runs `drain` on SIGTERM. @returns the function that ends it */
export function drainOnSigterm(drain: Drain): () => void {
  if (drains.size === 0) process.on('SIGTERM', onSigterm)
  drains.add(drain)
  return () => {
    drains.delete(drain)
    if (drains.size === 0) process.off('SIGTERM', onSigterm)
  }
}

function onSigterm(): void {
  // An application that listens itself decides when the process ends.
  const isOurs = process.listeners('SIGTERM').every((listener) => listener === onSigterm)
  const all = [...drains]
  void Promise.allSettled(all.map((drain) => drain())).then(() => {
    process.off('SIGTERM', onSigterm)
    if (isOurs) process.kill(process.pid, 'SIGTERM')
  })
}
