/** What DEBUG prints on standard error. */
import { formatWithOptions } from 'node:util'

/** Prints the events that DEBUG names: `turnpike:*`, `turnpike:decision`, `turnpike:decision(api)`. */
export class DebugOutput {
  readonly #filters: (name: string) => DebugFilter | undefined
  readonly #print: (name: string, event: object) => void

  /** @param format the value of DEBUG_FORMAT: `json` for lines of JSON */
  constructor(
    debug: string = process.env['DEBUG'] ?? '',
    format: string = process.env['DEBUG_FORMAT'] ?? '',
  ) {
    this.#filters = debugFilters(debug)
    this.#print = format === 'json' ? printJson : printText
  }

  /** Returns the listener that prints events of a name, undefined if none is printed. */
  listenerOf(name: string): ((event: object) => void) | undefined {
    const isWanted = this.#filters(name)
    if (isWanted === undefined) return undefined
    return (event) => {
      if (isWanted(event)) this.#print(name, event)
    }
  }
}

/** Returns true for the events of a name that are printed. */
type DebugFilter = (event: object) => boolean

/** Returns how DEBUG selects events of a name: undefined if it does not. */
function debugFilters(debug: string): (name: string) => DebugFilter | undefined {
  const patterns = debug.split(/[\s,]+/).flatMap((pattern) => {
    if (pattern === '*') return [{ event: '*', mount: undefined }]
    const match = /^turnpike:([\w*-]+)(?:\(([^)]*)\))?$/.exec(pattern)
    return match ? [{ event: match[1]!, mount: match[2] }] : []
  })
  return (name) => {
    const wanted = patterns.filter(({ event }) => event === '*' || event === name)
    if (wanted.length === 0) return undefined
    if (wanted.some(({ mount }) => mount === undefined)) return () => true
    return (event) => wanted.some(({ mount }) => mount === (event as { name?: unknown }).name)
  }
}

function printText(name: string, event: object): void {
  const time = new Date().toISOString()
  const line = formatWithOptions(
    { breakLength: Infinity, depth: 2 },
    '%s turnpike:%s %o',
    time,
    name,
    event,
  )
  process.stderr.write(`${line.replaceAll('\n', ' ')}\n`)
}

function printJson(name: string, event: object): void {
  const time = new Date().toISOString()
  const shown = (_key: string, value: unknown): unknown =>
    value instanceof Error ? String(value) : typeof value === 'bigint' ? String(value) : value
  process.stderr.write(`${JSON.stringify({ time, event: `turnpike:${name}`, ...event }, shown)}\n`)
}
