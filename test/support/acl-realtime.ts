import type { turnpike } from '../../src/node.ts'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { channels, inbox, presence, progress, sse, subscriptions } from '../../src/realtime.ts'
import { until } from './until.ts'

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

  const task = progress(live).of('task', { total: 2 })
  await task.start()
  must('a step', (await task.step()).percent === 50)
  must('the state', (await task.get())?.steps === 1)

  const mails = inbox(live, { max: 2 })
  for (const id of ['a', 'b', 'c']) await mails.push('ann', id, { id })
  must('the oldest makes room', (await mails.read('ann', 'b')) === 1)
  must('a page', (await mails.page('ann')).messages.length === 2)
  must('up to the latest', (await mails.readUpTo('ann', 'c')) === 0)
  must('deleted', (await mails.delete('ann', 'b')) === 1)
  must('announced', (await mails.announce('hello', { id: 'hello' })).isNew)
  await mails.readAnnouncements('ann')
  must('all read', (await mails.unread('ann')).announcements === 0)
  must('withdrawn', await mails.withdraw('hello'))

  const users = presence(live)
  const connection = users.connection('ann')
  await until('the user is online', () => users.isOnline('ann'))
  must('a page of users', (await users.online()).users.length === 1)
  connection.close()

  const followed = subscriptions(tp)
  must('subscribed', (await followed.add('ann', ['a', 'b'])) === 2)
  must('unsubscribed', (await followed.remove('ann', 'a')) === 1)
  must('the subscriptions', (await followed.list('ann')).length === 1)

  const stream = sse(live, { topics: () => 'news', user: () => 'ann', perUser: 1 })
  const unavailable: unknown[] = []
  const stop = tp.on('error', (event) => unavailable.push(event))
  const server = createServer((req, res) => {
    stream(req, res, (error) => void res.writeHead(error ? 500 : 404).end())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  try {
    const opened = await fetch(url)
    must('a stream', opened.status === 200)
    const second = await fetch(url)
    must('a limit of streams', second.status === 429)
    await opened.body!.cancel()
    await until('the place is free', async () => {
      const again = await fetch(url)
      await again.body?.cancel()
      return again.status === 200
    })
  } finally {
    stop()
    server.closeAllConnections()
    server.close()
  }
  must('no error', unavailable.length === 0)
}
