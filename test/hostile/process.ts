/** The process of the application under attack, and what it answers. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/until.ts'

type Question =
  | 'held'
  | 'isOver'
  | 'status'
  | 'issue'
  | 'open'
  | 'cut'
  | 'effects'
  | 'forget'
  | 'faults'
  | 'end'

export class Application {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, (answer: never) => void>()
  readonly #ended: Promise<undefined>
  #stderr = ''
  #id = 0
  ports: Record<string, number> = {}

  constructor(node: string, url: string, env: Record<string, string> = {}) {
    const file = path.join(import.meta.dirname, 'application.mjs')
    this.#process = spawn(node, ['--expose-gc', file], {
      env: { PATH: process.env['PATH'], URL: url, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#ended = once(this.#process, 'exit').then(() => undefined)
    this.#process.stderr!.on('data', (text) => (this.#stderr += String(text)))
    this.#process.on('message', ({ id, answer, ports }: any) => {
      if (ports) this.ports = ports
      else this.#waiting.get(id)?.(answer as never)
    })
  }

  async ready(): Promise<void> {
    await until('the application serves', () => this.expectAlive() && 'node' in this.ports, 20_000)
  }

  expectAlive(): true {
    expect(this.#process.exitCode ?? this.#process.signalCode, this.#stderr).toBe(null)
    return true
  }

  async ask<Answer>(question: Question, about?: number): Promise<Answer> {
    if (!this.#process.connected) {
      // Says why: the exit code and what it has written come after the end of the channel.
      await this.#ended
      this.expectAlive()
    }
    const id = ++this.#id
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve))
    this.#process.send({ id, ask: question, about })
    const result = await Promise.race([answer, this.#ended])
    this.#waiting.delete(id)
    if (result === undefined && question !== 'end') this.expectAlive()
    return result as Answer
  }

  /** Ends it, and expects that nothing keeps it alive. */
  async end(): Promise<void> {
    await this.ask('end')
    await Promise.race([this.#ended, sleep(20_000)])
    expect(this.#process.exitCode, this.#stderr).toBe(0)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
