/**
 * How states are packed in Redis. Each algorithm writes its layout down once, and its scripts use
 * the names of it.
 */

/** A format of Redis's `struct` library, for example `>I6B`. */
export type StructFormat = `>${string}`

/** Begins each state: when the key expires, and 1 if a block follows, else 0. */
export const STATE_HEADER: StructFormat = '>I6B'
/** A block: its end, how many blocks there were in a row, its length. Then comes the algorithm's own state. */
export const STATE_BLOCK: StructFormat = '>I6I2I6'

/** Returns the size of a packed record in bytes. */
export function sizeOf(format: StructFormat): number {
  let size = 0
  for (const [, type, width] of format.matchAll(/([IBd])(\d*)/g))
    size += type === 'd' ? 8 : Number(width || 1)
  return size
}

/** Returns a format with others in front. */
export const joined = (...formats: readonly StructFormat[]): StructFormat =>
  `>${formats.map((each) => each.slice(1)).join('')}`

/** Names that stand for values in a script: a word in capitals becomes the value's literal. */
export type ScriptConstants = Readonly<Record<string, number | StructFormat>>

/** The layout of an algorithm's state. */
export type StateLayout = ScriptConstants & { readonly STATE: StructFormat }

/** Returns a script with values in place of their names. */
export const fillScript = (lua: string, constants: ScriptConstants): string =>
  lua.replace(/\b[A-Z][A-Z_]*\b/g, (name) => {
    const value = Object.hasOwn(constants, name) ? constants[name] : undefined
    return typeof value === 'number' ? value.toFixed(0) : value === undefined ? name : `'${value}'`
  })
