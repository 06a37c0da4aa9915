/** Idempotent requests without HTTP: keys and fingerprints in, attempts and answers out. */
import { randomBytes } from 'node:crypto'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { isUnavailable } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Budget } from '../../store/budget.ts'
import type { Reply } from '../../store/store.ts'
import type { Ground } from '../ground.ts'
import { Alarms, persist } from '../lease.ts'
import { Turns, type Attempt as Try } from '../turns.ts'
import { begin } from './begin.ts'
import { headersIn, statusIn, type AnswerHeaders } from './head.ts'
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
  headers: AnswerHeaders
  body: Buffer
}

export type Outcome =
  | { kind: 'run'; run: Run }
  | { kind: 'answered'; answer: Answer }
  /** Answered, but the body was too long to keep. */
  | { kind: 'unkept'; status: number }
  | Running
  | { kind: 'mismatch' }
  | { kind: 'interrupted' }

interface Running {
  kind: 'running'
  leftMs: number
}

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
  readonly alarms: Alarms
  readonly #process = randomBytes(12).toString('base64url')
  readonly #turns: Turns
  /** What `begin` is told each time: lease, time to keep, what to do about a crash. */
  readonly #terms: readonly string[]
  #count = 0

  constructor(ground: Ground, options: EngineOptions) {
    const { lease, ttl, onCrash } = options
    this.ground = ground
    this.options = options
    this.alarms = new Alarms(ground.store)
    this.#terms = [String(lease), String(ttl), onCrash === 'conflict' ? '1' : '']
    this.#turns = new Turns(ground.store, `${this.#process}.`)
  }

  /**
   * What is to be done about a request?
   * @throws TP_UNAVAILABLE when Redis cannot answer: nothing may be run
   */
  begin(
    tag: string,
    fingerprint: string,
    { wait, signal, budget }: BeginOptions,
  ): Promise<Outcome> {
    const owner = `${this.#process}.${(++this.#count).toString(36)}`
    const key = this.ground.keys.key('idempotency', tag)
    const claim = { tag, key, owner, fingerprint, since: 0, budget }
    // The wait was promised; only the first question is on the request's budget.
    return this.#ask(claim, '', budget).then(
      (outcome) =>
        outcome.kind === 'running' && wait > 0
          ? this.#wait(claim, wait, signal)
          : this.#told(outcome, tag),
      (error: unknown) => this.#giveUp(claim, error),
    )
  }

  #ask(claim: Claim, channel: string, budget?: Budget): Promise<Outcome> {
    const { store } = this.ground
    const { key, owner, fingerprint } = claim
    claim.since = store.steady()
    return store
      .run(begin, [key], [fingerprint, owner, ...this.#terms, channel], budget)
      .then((reply) => this.#read(reply, claim))
  }

  /** Wait for the answer of a request that is running, or for its end. */
  async #wait(claim: Claim, wait: number, signal: AbortSignal | undefined): Promise<Outcome> {
    const { tag, owner } = claim
    const channel = this.ground.keys.channel('idempotency', tag)
    const attempt = async (): Promise<Try<Outcome>> => {
      const outcome = await this.#ask(claim, channel)
      return outcome.kind === 'running' ? { waitMs: outcome.leftMs } : { got: outcome, more: true }
    }
    try {
      const tried = await this.#turns.take(channel, owner, { wait, signal, fair: true }, attempt)
      const running: Running = { kind: 'running', leftMs: 'more' in tried ? 0 : tried.waitMs }
      return this.#told('more' in tried ? tried.got : running, tag)
    } catch (error) {
      return this.#giveUp(claim, error)
    }
  }

  #told(outcome: Outcome, tag: string): Outcome {
    if (outcome.kind !== 'run') this.tell(WORDS[outcome.kind], tag, undefined)
    else this.tell(outcome.run.recovered ? 'recovered' : 'first', tag, outcome.run.attempt)
    return outcome
  }

  #giveUp({ key, owner }: Claim, error: unknown): never {
    const { store, events } = this.ground
    const { name, lease } = this.options
    if (isUnavailable(error) && error.uncertain) {
      // The reply may have been lost, not the claim: the next attempt shall not find it running.
      const until = store.steady() + lease
      void persist(() => store.run(release, [key], [owner]), {
        store,
        events,
        feature: 'idempotency',
        name,
        until,
      })
    }
    throw error
  }

  tell(what: Events['idempotency']['what'], subject: string, attempt: number | undefined): void {
    const { events } = this.ground
    if (events.hears('idempotency'))
      events.emit('idempotency', { name: this.options.name, what, attempt, subject })
  }

  #read(reply: readonly Reply[], claim: Claim): Outcome {
    const [kind, first, second] = reply as [number, number | Buffer, number | Buffer]
    switch (kind) {
      case 1:
        return {
          kind: 'run',
          run: new Run(this, claim, first as number, Number(second), stepsOf(reply)),
        }
      case 2: {
        const answer = answerOf(first, second)
        // What cannot be read may not be run again either.
        return answer ? { kind: 'answered', answer } : { kind: 'interrupted' }
      }
      case 3:
        return { kind: 'running', leftMs: first as number }
      case 4:
        return { kind: 'mismatch' }
      case 5:
        return { kind: 'unkept', status: statusIn(first as Buffer) }
      default:
        return { kind: 'interrupted' }
    }
  }
}

/** A stored answer, or undefined if somebody else has written there. */
function answerOf(head: unknown, body: unknown): Answer | undefined {
  if (!Buffer.isBuffer(head) || !Buffer.isBuffer(body)) return undefined
  const status = statusIn(head)
  if (!(status >= 200 && status <= 599)) return undefined
  try {
    const headers: unknown = headersIn(head)
    if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return undefined
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name)
      for (const each of [value].flat()) validateHeaderValue(name, each)
    }
    return { status, headers: headers as Answer['headers'], body }
  } catch {
    return undefined
  }
}

/** What a run needs to know of its claim. */
export interface Claim {
  tag: string
  key: string
  owner: string
  fingerprint: string
  /** When it was asked for, by `store.steady()`. */
  since: number
  /** What the request may wait for Redis. */
  readonly budget: Budget
}

/** What the steps of earlier attempts came to, by name. */
function stepsOf(reply: readonly Reply[]): ReadonlyMap<string, Buffer> | undefined {
  if (reply.length <= 3) return undefined
  const steps = new Map<string, Buffer>()
  for (let i = 3; i + 1 < reply.length; i += 2) steps.set(String(reply[i]), reply[i + 1] as Buffer)
  return steps
}
