import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { until } from './until.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  code: number | null
  /** Set when the script did not end by itself. */
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** From the last `tell`, or from the start. */
  ms: number
}

/** A script in a process of its own. */
export interface Script {
  /** Resolves when it has written a line that is `word`. */
  says(word: string): Promise<void>
  /** Write a line to its standard input. */
  tell(word: string): void
  /** Resolves when it has ended. */
  readonly ended: Promise<Ended>
}

export interface ScriptOptions {
  env?: Record<string, string>
  /** Options of node. */
  node?: readonly string[]
  /** After so many ms it is killed. Default 10,000. */
  patience?: number
}

/**
 * Runs the source of an ES module in a new process. It can import the built package by
 * name ('turnpike/node'), and has `received(word)`: resolves when the test sends that word. Waiting
 * for a word keeps the process alive. Nothing else here does.
 */
export function startScript(
  source: string,
  { env = {}, node = [], patience = 10_000 }: ScriptOptions = {},
): Script {
  const whole = `
    import { createInterface } from 'node:readline'
    function received(word) {
      process.stdin.ref?.()
      const lines = createInterface({ input: process.stdin })
      return new Promise((resolve) => lines.on('line', (line) => {
        if (line !== word) return
        lines.close()
        process.stdin.destroy()
        resolve()
      }))
    }
    ${source}`
  const inherited = { ...process.env }
  for (const name of ['DEBUG', 'NODE_ENV', 'REDIS_URL', 'NODE_OPTIONS', 'VITEST'])
    delete inherited[name]
  const child = spawn(process.execPath, [...node, '--input-type=module', '-e', whole], {
    cwd: root,
    env: { ...inherited, ...env },
  })
  let stdout = ''
  let stderr = ''
  let began = performance.now()
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => {})
  const timer = setTimeout(() => child.kill('SIGKILL'), patience)
  onTestFinished(() => void child.kill('SIGKILL'))
  let over = false
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      over = true
      resolve({ code, signal, stdout, stderr, ms: performance.now() - began })
    })
  })
  return {
    async says(word) {
      const said = (): boolean => stdout.split('\n').includes(word)
      await until(`the script says ${word}`, () => said() || over, patience)
      if (!said()) throw new Error(`the script ended before it said ${word}:\n${stdout}${stderr}`)
    },
    tell(word) {
      began = performance.now()
      child.stdin.write(`${word}\n`)
    },
    ended,
  }
}

/** Runs a script to its end. */
export const runScript = (source: string, options?: ScriptOptions): Promise<Ended> =>
  startScript(source, options).ended
