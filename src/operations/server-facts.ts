/** What a server says of itself, and what keys of ours are like there. Sends read commands only. */
import { parseInfo } from '../store/info.ts'
import { parseKey, type KeyParts } from '../store/keys.ts'
import type { ServerAccess, ServerNode } from '../store/server-access.ts'
import { FEATURE_COMMANDS } from './redis-permissions.ts'
import { newProgress, scanNode, type ScanProgress } from './scan-keys.ts'

/** A fact, or the permission that is missing to know it. */
export type Fact<Value> = { readonly value: Value } | { readonly missing: string }

/** A command that took long. */
export interface SlowCommand {
  /** In ms since the epoch. */
  readonly at: number
  readonly ms: number
  /** Its name. Its arguments may be secrets. */
  readonly command: string
}

/** What the sampled keys of ours have in common. */
export interface KeySample {
  readonly sampled: number
  readonly progress: ScanProgress
  readonly withoutTtl: readonly string[]
  /** Idempotency keys that run under a lease that has ended, and when it ended in ms since the epoch. */
  readonly stuck: readonly { readonly key: string; readonly leaseEnded: number }[]
}

/** All facts of one server. */
export interface ServerFacts {
  readonly address: string
  readonly areas: readonly string[]
  readonly topology: ServerAccess['topology']
  readonly usesTls: boolean
  readonly info: Fact<Readonly<Record<string, string>>>
  /** Times of PINGs in ms, in ascending order. */
  readonly pings: Fact<readonly number[]>
  /** Redis's clock less the local one, in ms. */
  readonly clockSkew: Fact<number>
  readonly slowCommands: Fact<readonly SlowCommand[]>
  readonly user: Fact<string>
  /** Value of the setting `save`. */
  readonly snapshots: Fact<string>
  /** Commands that the user may not run, by what they are for. */
  readonly forbidden: Fact<Readonly<Record<string, readonly string[]>>>
  readonly cluster: Fact<Readonly<Record<string, string>>> | undefined
  readonly keys: Fact<KeySample>
}

/** What to look at. */
export interface FactOptions {
  readonly areas: readonly string[]
  /** Prefix and version of the keys. */
  readonly start: string
  /** The local clock, in ms since the epoch. */
  readonly now: () => number
}

const PINGS = 15
const SAMPLE = 1000
const SAMPLE_MS = 5000

/** Collects the facts of one server. @throws what the connection rejects with, other than a missing permission */
export async function collectFacts(
  node: ServerNode,
  { topology, usesTls }: Pick<ServerAccess, 'topology' | 'usesTls'>,
  { areas, start, now }: FactOptions,
): Promise<ServerFacts> {
  const text = async (...command: [string, ...string[]]): Promise<string> =>
    String(await node.send(...command))
  return {
    address: node.address,
    areas,
    topology,
    usesTls,
    info: await fact('info', async () => parseInfo(await text('INFO', 'everything'))),
    pings: await fact('ping', () => measurePings(node)),
    clockSkew: await fact('time', () => measureSkew(node, now)),
    slowCommands: await fact('slowlog|get', () => readSlowCommands(node)),
    user: await fact('acl|whoami', () => text('ACL', 'WHOAMI')),
    snapshots: await fact('config|get', async () => {
      const reply = (await node.send('CONFIG', 'GET', 'save')) as string[]
      return reply[1] ?? ''
    }),
    forbidden: await fact('acl|dryrun', () => findForbidden(node, start)),
    cluster:
      topology === 'cluster'
        ? await fact('cluster|info', async () => parseInfo(await text('CLUSTER', 'INFO')))
        : undefined,
    keys: await fact('scan +pttl +hmget', () => sampleKeys(node, start, now)),
  }
}

/** Returns what `read` resolves with, or the permission that it lacks. */
async function fact<Value>(command: string, read: () => Promise<Value>): Promise<Fact<Value>> {
  try {
    return { value: await read() }
  } catch (error) {
    const message = String((error as Partial<Error>).message)
    // Hosts of Redis rename or remove commands.
    if (/NOPERM|unknown (sub)?command|Unknown subcommand/i.test(message))
      return { missing: `+${command}` }
    throw error
  }
}

async function measurePings(node: ServerNode): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < PINGS; i++) {
    const start = performance.now()
    await node.send('PING')
    times.push(performance.now() - start)
  }
  return times.toSorted((a, b) => a - b)
}

async function measureSkew(node: ServerNode, now: () => number): Promise<number> {
  const before = now()
  const [seconds, micros] = (await node.send('TIME')) as [string | number, string | number]
  const after = now()
  return Number(seconds) * 1000 + Number(micros) / 1000 - (before + after) / 2
}

async function readSlowCommands(node: ServerNode): Promise<SlowCommand[]> {
  const entries = (await node.send('SLOWLOG', 'GET', '128')) as [number, number, number, string[]][]
  return entries.map(([, at, micros, words]) => ({
    at: at * 1000,
    ms: micros / 1000,
    command: String(words[0]).toUpperCase().slice(0, 40),
  }))
}

/** Asks Redis which commands the connection's user may not run on keys of ours. */
async function findForbidden(
  node: ServerNode,
  start: string,
): Promise<Record<string, readonly string[]>> {
  const user = String(await node.send('ACL', 'WHOAMI'))
  const result: Record<string, readonly string[]> = {}
  const known = new Map<string, Promise<boolean>>()
  for (const [feature, commands] of Object.entries(FEATURE_COMMANDS)) {
    const all = [...new Set(['evalsha', 'eval', ...commands])]
    const allowed = await Promise.all(
      all.map((command) => {
        const check = known.get(command) ?? isAllowed(node, user, command, start)
        known.set(command, check)
        return check
      }),
    )
    result[feature] = all.filter((_, i) => !allowed[i])
  }
  return result
}

async function isAllowed(
  node: ServerNode,
  user: string,
  command: string,
  start: string,
): Promise<boolean> {
  const key = `${start}:doctor:{permissions}`
  const isScript = command.startsWith('eval')
  // Redis checks the number of arguments before the permissions.
  for (let count = isScript ? 3 : 0; count <= 5; count++) {
    const args = (isScript ? ['x', '1', key] : [key, '1', '1', '1', '1']).slice(0, count)
    try {
      return (await node.send('ACL', 'DRYRUN', user, command, ...args)) === 'OK'
    } catch (error) {
      if (!/wrong number of arguments/i.test((error as Error).message)) throw error
    }
  }
  return true
}

async function sampleKeys(node: ServerNode, start: string, now: () => number): Promise<KeySample> {
  const progress = newProgress()
  const bounds = { pattern: `${start}:*`, maxMatches: SAMPLE, maxMs: SAMPLE_MS }
  const withoutTtl: string[] = []
  const stuck: { key: string; leaseEnded: number }[] = []
  let sampled = 0
  for await (const batch of scanNode(node, bounds, progress)) {
    const parsed = batch.flatMap((key): [string, KeyParts][] => {
      const parts = parseKey(key, start)
      return parts ? [[key, parts]] : []
    })
    sampled += parsed.length
    const ttls = await Promise.all(parsed.map(([key]) => node.send('PTTL', key)))
    withoutTtl.push(...parsed.flatMap(([key], i) => (ttls[i] === -1 ? [key] : [])))
    const runs = parsed.filter(([, { feature }]) => feature === 'idempotency')
    const found = await Promise.all(runs.map(([key]) => readLease(node, key)))
    for (const [i, leaseEnded] of found.entries())
      if (leaseEnded !== undefined && leaseEnded < now())
        stuck.push({ key: runs[i]![0], leaseEnded })
  }
  return { sampled, progress, withoutTtl, stuck }
}

/** Returns when the lease of a running idempotency key ends. */
async function readLease(node: ServerNode, key: string): Promise<number | undefined> {
  let claim: unknown
  let times: unknown
  try {
    ;[claim, times] = (await node.send('HMGET', key, 'f', 'l')) as unknown[]
  } catch (error) {
    if (/WRONGTYPE/.test((error as Error).message)) return undefined
    throw error
  }
  const [, lease] = /^\d+ (\d+)/.exec(String(times)) ?? []
  return String(claim).startsWith('p') && lease !== undefined ? Number(lease) : undefined
}
