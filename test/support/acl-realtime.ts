import type { turnpike } from '../../src/node.ts'
import { channels } from '../../src/realtime.ts'

/** A topic: published, followed, continued. */
export async function useRealtime(
  tp: ReturnType<typeof turnpike>,
  must: (what: string, holds: unknown) => void,
): Promise<void> {
  const live = channels(tp)
  const signal = AbortSignal.timeout(1500)
  const first = await live.publish('news', 1)
  const subscription = live.subscribe('news', { signal })
  await subscription.ready
  await live.publish('news', 2)
  must('delivered', (await subscription.next()).value?.data === 2)
  await subscription.return()
  const resumed = live.subscribe('news', { signal, after: first })
  must('continued', (await resumed.next()).value?.data === 2)
  await resumed.return()
}
