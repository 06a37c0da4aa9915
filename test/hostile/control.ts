/** The same application without turnpike: what it leaves behind under the same connections is not turnpike's. */
import { setTimeout as sleep } from 'node:timers/promises'
import { runConnection, seedsByAddress, type Target } from './client.ts'
import { Application } from './process.ts'

/** What a race decides happens in one of these. */
const REPETITIONS = 20
/** Longer than node keeps an idle connection. */
const PATIENCE = 10_000

/**
 * Returns the seeds of connections that the frameworks and node keep open by themselves.
 * @param node the program that runs the application
 * @param url of Redis
 */
export async function openWithoutTurnpike(
  seeds: readonly number[],
  { node, url, credentials }: { node: string; url: string } & Pick<Target, 'credentials'>,
): Promise<number[]> {
  const application = new Application(node, url, { BARE: '1' })
  try {
    await application.ready()
    const target = { ports: application.ports, credentials }
    for (let i = 0; i < REPETITIONS; i++)
      await Promise.all(seeds.map((seed) => runConnection(seed, target)))
    await sleep(PATIENCE)
    return (await application.ask<string[]>('open')).map((from) => seedsByAddress.get(from)!)
  } finally {
    application.kill()
  }
}
