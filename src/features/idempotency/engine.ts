/** Idempotent requests without HTTP: keys and fingerprints in, attempts and answers out. */
import { randomBytes } from 'node:crypto'
import { isUnavailable } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Budget } from '../../store/budget.ts'
import type { Reply } from '../../store/store.ts'
import type { Ground } from '../ground.ts'
import { persist } from '../lease.ts'
import { Turns, type Attempt as Try } from '../turns.ts'
import { begin } from './begin.ts'
import { release } from './release.ts'
import { Run } from './run.ts'

/** Times in ms. */
export interface EngineOptions {
  /** As it stands in events. */
  name: string
  /** How long answers are kept. */
  ttl: number
  lease: number
  /** How long a running request is renewed at most. */
  longest: number
  onCrash: 'rerun' | 'conflict'
}

/** A stored answer. */
export interface Answer {
  status: number
  headers: Record<string, string | readonly string[]>
  body: Buffer
}

export type Outcome =
  | { kind: 'run'; run: Run }
  | { kind: 'answered'; answer: Answer }
  /** Answered, but the body was too long to keep. */
  | { kind: 'unkept'; status: number }
  | { kind: 'running'; leftMs: number }
  | { kind: 'mismatch' }
  | { kind: 'interrupted' }

export interface BeginOptions {
  /** How long to wait for the answer of a request that is running, in ms. */
  wait: number
  signal: AbortSignal | undefined
  budget: Budget
}

const WORDS = {
  answered: 'replayed',
  unkept: 'replayed',
  running: 'running',
  mismatch: 'mismatch',
  interrupted: 'interrupted',
} as const

export class IdempotencyEngine {
  readonly ground: Ground
  readonly options: EngineOptions
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Turns
  #count = 0

  constructor(ground: Ground, options: EngineOptions) {
    this.ground = ground
    this.options = options
    this.#turns = new Turns(ground.store, `${this.#process}.`)
  }

  /**
   * What is to be done about a request?
   * @throws TP_UNAVAILABLE when Redis cannot answer: nothing may be run
   */
  async begin(
    tag: string,
    fingerprint: string,
    { wait, signal, budget }: BeginOptions,
  ): Promise<Outcome> {
    const { store, keys, events } = this.ground
    const { name, ttl, lease, onCrash } = this.options
    const key = keys.key('idempotency', tag)
    const channel = keys.channel('idempotency', tag)
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    let asked = 0
    const attempt = async (): Promise<Try<Outcome>> => {
      const since = store.steady()
      const args = [fingerprint, owner, lease, ttl, onCrash === 'conflict' ? '1' : '']
      // The wait was promised; only the first question is on the request's budget.
      const reply = await store.run(begin, [key], args, asked++ === 0 ? budget : undefined)
      const outcome = this.#read(reply, { tag, key, channel, owner, fingerprint, since })
      return outcome.kind === 'running' ? { waitMs: outcome.leftMs } : { got: outcome, more: true }
    }
    let outcome: Outcome
    try {
      const tried = await this.#turns.take(channel, owner, { wait, signal, fair: true }, attempt)
      outcome = 'more' in tried ? tried.got : { kind: 'running', leftMs: tried.waitMs }
    } catch (error) {
      if (isUnavailable(error) && error.uncertain) {
        // The reply may have been lost, not the claim: the next attempt shall not find it running.
        const until = store.steady() + lease
        void persist(() => store.run(release, [key], [owner, channel]), {
          store,
          events,
          feature: 'idempotency',
          name,
          until,
        })
      }
      throw error
    }
    if (outcome.kind !== 'run') this.tell(WORDS[outcome.kind], tag, undefined)
    else this.tell(outcome.run.recovered ? 'recovered' : 'first', tag, outcome.run.attempt)
    return outcome
  }

  tell(what: Events['idempotency']['what'], subject: string, attempt: number | undefined): void {
    const { events } = this.ground
    if (events.hears('idempotency'))
      events.emit('idempotency', { name: this.options.name, what, attempt, subject })
  }

  #read(reply: readonly Reply[], claim: Claim): Outcome {
    const [kind, first, second, third] = reply as [number, number, Buffer | number, Buffer]
    switch (kind) {
      case 1:
        return {
          kind: 'run',
          run: new Run(this, {
            ...claim,
            token: first,
            attempt: Number(second),
            steps: stepsOf(reply),
          }),
        }
      case 2:
        return {
          kind: 'answered',
          answer: {
            status: first,
            headers: JSON.parse(String(second)) as Answer['headers'],
            body: third,
          },
        }
      case 3:
        return { kind: 'running', leftMs: first }
      case 4:
        return { kind: 'mismatch' }
      case 5:
        return { kind: 'unkept', status: first }
      default:
        return { kind: 'interrupted' }
    }
  }
}

/** What a run needs to know of its claim. */
export interface Claim {
  tag: string
  key: string
  channel: string
  owner: string
  fingerprint: string
  /** When it was asked for, by `store.steady()`. */
  since: number
}

/** What the steps of earlier attempts came to, by name. */
function stepsOf(reply: readonly Reply[]): Map<string, Buffer> {
  const steps = new Map<string, Buffer>()
  for (let i = 3; i + 1 < reply.length; i += 2) steps.set(String(reply[i]), reply[i + 1] as Buffer)
  return steps
}
