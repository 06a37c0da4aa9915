/** Attacks an application with hostile connections while Redis is well, frozen, killed or flushed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { expectEveryKeyToExpire } from '../support/ttl.ts'
import { runConnection, type Target } from './client.ts'
import { openWithoutTurnpike } from './control.ts'
import { credentialsOf } from './credentials.ts'
import { Application } from './process.ts'
import { FEATURES } from './requests.ts'
import { expectFree, settled, type Held } from './settled.ts'

export interface AttackOptions {
  seed: number
  connections: number
  /** The program that runs the application. Default: this Node */
  node?: string
}

const AT_A_TIME = 40
/** Connections before anything is counted: by then each feature was used on each server. */
const WARM_UP = 1000
const PHASES = ['well', 'frozen', 'killed', 'flushed'] as const
type Phase = (typeof PHASES)[number]

/** Puts Redis into a state while connections run, again and again. */
async function disturb(
  phase: Phase,
  redis: RedisServer,
  proxy: FaultProxy,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    if (phase === 'frozen') proxy.set({ mode: 'stall' })
    else if (phase === 'killed') await redis.kill()
    else if (phase === 'flushed')
      await redis.send('FLUSHALL').then(() => redis.send('SCRIPT', 'FLUSH'))
    await sleep(phase === 'flushed' ? 100 : 300)
    proxy.heal()
    if (phase === 'killed') await redis.restart()
    if (phase !== 'flushed') await sleep(300)
  }
}

export interface AttackResult {
  connections: number
  seconds: number
  effects: number
  heap: number[]
  /** Handlers reached, or cached pages served, for each request while Redis was well, by feature. */
  reach: Record<string, number>
}

/** Attacks in all phases. Fails if the process does not live, or if anything is held that should not be. */
export async function attack({
  seed,
  connections,
  node = process.execPath,
}: AttackOptions): Promise<AttackResult> {
  await using redis = await startRedis()
  await using proxy = await startFaultProxy(redis.port)
  const application = new Application(node, proxy.url)
  try {
    await application.ready()
    const campaign = new Campaign(application, redis, proxy, seed, node)
    const share = Math.ceil(Math.max(0, connections - WARM_UP) / PHASES.length)
    await campaign.begin()
    for (const phase of PHASES) await campaign.attack(phase, share)
    await application.end()
    return campaign.result()
  } finally {
    application.kill()
  }
}

class Campaign {
  readonly #application: Application
  readonly #redis: RedisServer
  readonly #proxy: FaultProxy
  readonly #first: number
  readonly #node: string
  readonly #began = performance.now()
  readonly #heap: number[] = []
  #next: number
  #before: Held | undefined
  #effects = 0
  #reach: Record<string, number> = {}

  constructor(
    application: Application,
    redis: RedisServer,
    proxy: FaultProxy,
    seed: number,
    node: string,
  ) {
    this.#node = node
    this.#application = application
    this.#redis = redis
    this.#proxy = proxy
    this.#first = this.#next = seed
  }

  /** What is made once, for example by the compiler, is there before anything is counted. */
  async begin(): Promise<void> {
    const target = await this.#target('w', 60)
    await this.#run(target, WARM_UP)
    expect(await this.#application.ask('faults')).toEqual([])
    await expectFree(this.#application.ports)
    this.#before = await this.#settled(target)
    this.#report('begins')
  }

  async attack(phase: Phase, connections: number): Promise<void> {
    const application = this.#application
    await application.ask('forget')
    const target = await this.#target(`k${PHASES.indexOf(phase)}`, Math.ceil(connections / 16))
    let isOver = false
    const disturbance = disturb(phase, this.#redis, this.#proxy, () => isOver)
    const sent = await this.#run(target, connections).finally(() => (isOver = true))
    await disturbance
    this.#report(phase, 'attacked')
    expect(await application.ask('faults'), `phase ${phase}`).toEqual([])
    this.#heap.push((await this.#settled(target)).heap)
    await expectFree(application.ports)
    await this.#expectOneEffectEach(phase)
    const reached = await application.ask<Record<string, number>>('forget')
    const reach = reachOf(sent, reached)
    if (phase === 'well') this.#reach = reach
    await expectEveryKeyToExpire(this.#redis)
    this.#report(phase, 'is over', reach)
  }

  result(): AttackResult {
    return {
      connections: this.#next - this.#first,
      seconds: (performance.now() - this.#began) / 1000,
      effects: this.#effects,
      heap: this.#heap,
      reach: this.#reach,
    }
  }

  /** Runs connections. Returns how many requests of each feature they sent. */
  async #run(target: Target, connections: number): Promise<Record<string, number>> {
    const sent: Record<string, number> = {}
    const last = this.#next + connections
    const worker = async (): Promise<void> => {
      while (this.#next < last) {
        const seed = this.#next++
        const { features, leaked } = await runConnection(seed, target)
        expect(leaked, `seed ${seed} got data of another user`).toBe(undefined)
        for (const feature of features) sent[feature] = (sent[feature] ?? 0) + 1
        // Clients that do not wait for an answer would only fill the queue of the listening socket.
        if (seed % AT_A_TIME === 0) await this.#application.ask('isOver')
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, worker))
    return sent
  }

  async #target(epoch: string, count: number): Promise<Target> {
    const credentials = await credentialsOf(this.#application, epoch, count)
    return { ports: this.#application.ports, credentials }
  }

  #settled({ credentials }: Target): Promise<Held> {
    const terms = { node: this.#node, url: this.#proxy.url, credentials }
    return settled(this.#application, (seeds) => openWithoutTurnpike(seeds, terms), this.#before)
  }

  async #expectOneEffectEach(phase: Phase): Promise<void> {
    type Effects = { twice: [effect: string, count: number][]; keys: number }
    const { twice, keys } = await this.#application.ask<Effects>('effects')
    // A server that loses its data forgets keys and locks, but it never accepts a token again.
    const losesData = phase === 'killed' || phase === 'flushed'
    const counted = losesData ? twice.filter(([key]) => / (code|refresh) /.test(key)) : twice
    expect(counted, `effects that happened twice, in phase ${phase}`).toEqual([])
    this.#effects += keys
  }

  #report(...figures: unknown[]): void {
    if (process.env['FIGURES'])
      console.log(((performance.now() - this.#began) / 1000).toFixed(1), ...figures)
  }
}

/** Returns which share of the requests reached a handler, or was answered for it, by feature. */
function reachOf(
  sent: Record<string, number>,
  reached: Record<string, number>,
): Record<string, number> {
  const sum = (path: string): number =>
    Object.entries(reached).reduce(
      (total, [key, count]) => (key.endsWith(` ${path}`) ? total + count : total),
      0,
    )
  const shares = FEATURES.map((path) => [path, sum(path) / (sent[path] ?? 1)] as const)
  const cached = ['/cache', '/private', '/all', '/warm']
  const pages = cached.reduce((total, path) => total + (sent[path] ?? 0), 0)
  return {
    ...Object.fromEntries(shares),
    'a cached page': sum('a cached page') / pages,
    'a replay': sum('pay') / (sent['/pay'] ?? 1),
  }
}
