/**
 * Watches for how long this process was kept from running: on a machine that others load, that is
 * not the time that anything here took. Gives a function for the ms lost since then.
 */
export function watchStarvation(): () => number {
  let lost = 0
  let last = performance.now()
  const late = (): number => Math.max(0, performance.now() - last - 2 * BEAT)
  const timer = setInterval(() => {
    lost += late()
    last = performance.now()
  }, BEAT)
  return () => {
    clearInterval(timer)
    return lost + late()
  }
}

const BEAT = 4
