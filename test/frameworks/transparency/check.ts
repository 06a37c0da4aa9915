/** Plays programs with and without turnpike, and compares what their clients saw. */
import { setTimeout as timer } from 'node:timers/promises'
import { RedisStore } from '../../../src/store/redis-store.ts'
import { EventBus } from '../../../src/events.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'
import { COOKIE, startApplication, type Application } from './applications.ts'
import { playProgram, type Seen } from './client.ts'
import { createProgram, TARGETS } from './program.ts'
import type { Delay, Engine, Program, Target } from './program.ts'

/** The in-process engine, as far away as a Redis in another zone. */
class SlowStore extends MemoryStore {
  override async run(...args: Parameters<MemoryStore['run']>): Promise<any> {
    await timer(1)
    return super.run(...args)
  }
}

const DELAYS: readonly Delay[] = ['immediate', 'socket', 'timer']

/** Applications of all frameworks, bare and with turnpike over each engine. */
export class Stage {
  readonly #applications = new Map<string, Application>()
  readonly #stores: Store[] = []
  /** Seeds of programs that differed, and are races of the bare application. */
  readonly races: number[] = []
  readonly #cookies = new Map<Application, string>()

  /** @param redis URL of a server */
  async open(redis: string): Promise<void> {
    const create: Record<Engine, () => Store> = {
      'in-process': () => new MemoryStore({ maxKeys: 1_000_000 }),
      'slow in-process': () => new SlowStore({ maxKeys: 1_000_000 }),
      Redis: () =>
        new RedisStore({
          source: redis,
          name: 'transparency',
          commandTimeout: 20_000,
          maxInFlight: 50_000,
          events: new EventBus(''),
        }),
    }
    for (const target of TARGETS) {
      this.#applications.set(target, await startApplication(target, undefined))
      for (const engine of Object.keys(create) as Engine[]) {
        const store = create[engine]()
        this.#stores.push(store)
        await store.ready(10_000)
        const prefix = target.replaceAll(/\W/g, '')
        const application = await startApplication(target, { store, prefix })
        this.#applications.set(`${target} ${engine}`, application)
        this.#cookies.set(application, await newSession(application, target, engine))
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#applications.values()].map((one) => one.close()))
    await Promise.all(this.#stores.map((store) => store.close()))
  }

  #application(target: Target, engine?: Engine): Application {
    return this.#applications.get(engine === undefined ? target : `${target} ${engine}`)!
  }

  /** Plays a program. Returns what differs, a line for each difference. */
  async check(program: Program): Promise<string[]> {
    const application = this.#application(program.target, program.engine)
    const cookie = program.hasSession ? this.#cookies.get(application) : undefined
    const [bare, mounted] = await Promise.all([
      playProgram(this.#application(program.target), program, cookie),
      playProgram(application, program, cookie),
    ])
    // HTTP/2 sends after the tick. What a handler breaks off in it may go out because of a wait.
    const isBroken = bare.responses.some(({ isComplete }) => !isComplete)
    if (isBroken && program.target.endsWith('HTTP/2')) return []
    const found = differences(comparable(bare, program), comparable(mounted, program))
    if (found.length === 0 || !(await this.#isRace(program, bare, mounted, cookie))) return found
    this.races.push(program.seed)
    return []
  }

  /**
   * Returns whether the program is a race without turnpike, too: the bare application differs from
   * itself, or does what the mounted one did where a middleware waits before the handler.
   */
  async #isRace(
    program: Program,
    first: Seen,
    mounted: Seen,
    cookie: string | undefined,
  ): Promise<boolean> {
    const isLike = (one: Seen, other: Seen): boolean =>
      differences(comparable(one, program), comparable(other, program)).length === 0
    const play = async (seed: number, delay?: Delay): Promise<Seen> =>
      playProgram(this.#application(program.target), { ...program, seed, delay }, cookie)
    for (let round = 0; round < 5; round++) {
      if (!isLike(first, await play(program.seed))) return true
    }
    for (let round = 0; round < 20; round++) {
      // Other work of the process is a part of the race: several requests at once bring it about.
      const seen = await Promise.all(
        Array.from({ length: 12 }, async (_, index) =>
          play(program.seed * 1000 + index, DELAYS[index % DELAYS.length]),
        ),
      )
      if (seen.some((one) => isLike(one, mounted))) return true
    }
    return false
  }

  /** Returns what is still held after a while, though all requests are over. */
  async leaks(seeds: readonly number[]): Promise<string[]> {
    const end = performance.now() + 10_000
    let held: string[] = []
    do {
      held = []
      for (const [name, { tp }] of this.#applications) {
        const permits = await tp?.semaphore('transparency', { limit: 10_000 }).count()
        if (permits) held.push(`${permits} permits on ${name}`)
      }
      for (const seed of seeds) {
        const { target, engine, mounts } = createProgram(seed)
        if (!mounts.flat().includes('exclusive')) continue
        const { tp } = this.#application(target, engine)
        // The lock of a client that has left ends with its lease.
        if (await tp!.locks.holder(String(seed))) held.push(`the lock of SEED=${seed}`)
      }
      if (held.length > 0) await timer(100)
    } while (held.length > 0 && performance.now() < end)
    return held
  }
}

/** Begins a session, and returns its cookie's value. */
async function newSession(
  application: Application,
  target: Target,
  engine: Engine,
): Promise<string> {
  const program: Program = {
    ...createProgram(0),
    target,
    engine,
    mounts: ['rolling session'],
    method: 'GET',
    headers: {},
    hasSession: false,
    second: 'none',
    leaves: 'never',
    isPastKoa: false,
    steps: [{ do: 'send', status: 200, body: 'string' }],
  }
  const { responses } = await playProgram(application, program, undefined)
  const cookie = new RegExp(`${COOKIE}=([^;]+)`).exec(String(responses[0]?.fields))?.[1]
  if (cookie === undefined) throw new Error(`no session on ${target}: ${JSON.stringify(responses)}`)
  return cookie
}

const OURS = new RegExp(
  `^(date|ratelimit|ratelimit-policy|x-ratelimit-\\w+|cache-status|age|idempotency-replayed|set-cookie: ${COOKIE}=.*):?`,
  'i',
)

/** Returns the part of what a client saw that must be the same with and without turnpike. */
function comparable(seen: Seen, program: Program): Record<string, unknown> {
  const { responses, rest, isClosed, resets, isTimedOut, failures } = seen
  if (program.leaves !== 'never') return { isTimedOut }
  // With a wrong Content-Length, a second response is none.
  const lines = rest.split('\r\n').filter((line) => !OURS.test(line))
  const parts: Record<string, unknown> = { rest: lines, isClosed, isTimedOut }
  parts['responses'] = responses.filter((one) => one.isComplete).length
  parts['resets'] = resets.map((code) => code !== 0)
  const mayReplay = program.mounts
    .flat()
    .some((name) => name.includes('cache') || name === 'idempotency')
  // A handler whose response is stored does not run again.
  const isReplayed = mayReplay && program.second === 'the same again'
  // What comes too late for HTTP/2 throws, or is ignored as soon as the stream is closed.
  if (!isReplayed && !program.target.endsWith('HTTP/2')) parts['failures'] = failures.sort()
  for (const [index, { fields, ...response }] of responses.entries()) {
    const isReplay = index === 1 && program.second === 'the same again' && mayReplay
    const { status, body, isComplete } = response
    const all = { ...response, fields: fields.filter((line) => !OURS.test(line)) }
    // A stored response is sent in one piece, and of a broken one a part has arrived.
    const compared = !isComplete ? {} : isReplay ? { status, body } : all
    for (const [name, value] of Object.entries(compared)) parts[`${index} ${name}`] = value
  }
  return parts
}

function differences(bare: Record<string, unknown>, mounted: Record<string, unknown>): string[] {
  const names = new Set([...Object.keys(bare), ...Object.keys(mounted)])
  const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 500)
  return [...names]
    .filter((name) => show(bare[name]) !== show(mounted[name]))
    .map((name) => `${name}: ${show(bare[name])} became ${show(mounted[name])}`)
}
