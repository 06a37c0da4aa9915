/** Counts the work of a piece of code: steps of the source, and characters that built-in functions go through. */
import { Session } from 'node:inspector'

const session = new Session()
session.connect()

const post = <Reply>(method: string, params?: object): Promise<Reply> =>
  new Promise((resolve, reject) =>
    session.post(method, params, (error: Error | null, reply?: object) =>
      error ? reject(error) : resolve(reply as Reply),
    ),
  )

interface Coverage {
  result: { url: string; functions: { ranges: { count: number }[] }[] }[]
}

/** Built-in functions whose time grows with their string. */
const OF_STRINGS = [
  'at',
  'endsWith',
  'includes',
  'indexOf',
  'lastIndexOf',
  'match',
  'matchAll',
  'normalize',
  'replace',
  'replaceAll',
  'search',
  'slice',
  'split',
  'startsWith',
  'substring',
  'toLowerCase',
  'toUpperCase',
  'trim',
] as const
/** These look at a few characters, whatever the length. */
const CONSTANT = new Set<string>(['at', 'endsWith', 'startsWith'])

/** Returns the number of characters that a function went through. */
function costOf(text: string, name: string, args: unknown[], result: unknown): number {
  const from = Number(args[1] ?? 0) || 0
  if (name === 'indexOf') return (result === -1 ? text.length : Number(result) + 1) - from
  // A part of a string costs what it is long.
  if (name === 'slice' || name === 'substring') return (result as string).length
  return text.length
}

let characters = 0
const strings = String.prototype
const expressions = RegExp.prototype

/** Replaces built-in functions by ones that count. Returns the function that restores them. */
function countCharacters(): () => void {
  const undo: (() => void)[] = []
  const replace = (target: object, name: string, value: unknown): void => {
    const original = Object.getOwnPropertyDescriptor(target, name)!
    Object.defineProperty(target, name, { ...original, value })
    undo.push(() => Object.defineProperty(target, name, original))
  }
  for (const name of OF_STRINGS) {
    const original = String.prototype[name] as (this: string, ...args: unknown[]) => unknown
    replace(strings, name, function (this: unknown, ...args: unknown[]) {
      const result = original.apply(this as string, args)
      characters += CONSTANT.has(name) ? 1 : costOf(String(this), name, args, result)
      return result
    })
  }
  const { exec } = RegExp.prototype
  replace(expressions, 'exec', function (this: RegExp, text: string) {
    const from = this.global || this.sticky ? this.lastIndex : 0
    const found = exec.call(this, text)
    const end = found ? found.index + found[0].length : text.length
    characters += Math.max(1, end - from)
    return found
  })
  return () => {
    for (const each of undo) each()
  }
}

/** Returns the work of `run` in the files of src/. */
export async function workOf(run: () => Promise<unknown>): Promise<number> {
  await post('Profiler.enable')
  await post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  await post('Profiler.takePreciseCoverage')
  characters = 0
  const undo = countCharacters()
  try {
    await run()
  } finally {
    undo()
  }
  const { result } = await post<Coverage>('Profiler.takePreciseCoverage')
  await post('Profiler.stopPreciseCoverage')
  const steps = result
    .filter(({ url }) => /\/src\/[^?]+\.ts/.test(url) && !url.includes('node_modules'))
    .flatMap(({ functions }) => functions)
    .flatMap(({ ranges }) => ranges)
    .reduce((sum, { count }) => sum + count, 0)
  return steps + characters
}
