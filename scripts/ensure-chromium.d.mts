/** Returns the first browser that runs, undefined if there is none. */
export function findChromium(): string | undefined
