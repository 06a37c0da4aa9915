/** What is revoked ends its streams: sessions, users, API keys. */
import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import { channels, sse, type Channels } from '../../../src/realtime.ts'
import { apiKeys } from '../../../src/tokens.ts'
import { testStore } from '../../../src/testing.ts'
import type { TurnpikeOptions } from '../../../src/turnpike.ts'
import { apps, type App, type AppKind } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { until } from '../../support/until.ts'
import { openEvents, type EventClient } from './event-source.ts'

const SECRET = 'a secret of at least 32 characters'

interface Running extends App {
  live: Channels
  keys: ReturnType<typeof apiKeys<any, any, any>>
}

/** POST /login and POST /logout; everything else is a stream. */
async function start(
  kind: AppKind,
  options: TurnpikeOptions<any>,
  revoked: ReadonlySet<string> = new Set(),
): Promise<Running> {
  let parts!: Pick<Running, 'live' | 'keys'>
  const app = kind.start({
    options,
    mount(tp) {
      const live = channels(tp)
      const lookup = async (digest: string) => (revoked.has(digest) ? undefined : { id: digest })
      parts = { live, keys: apiKeys(tp, { lookup, required: false }) }
      const session = tp.session({ secret: SECRET })
      const act = async (native: any): Promise<boolean> => {
        const user = native.headers['x-login']
        if (user !== undefined) await tp.session.login(native, user)
        else if (native.headers['x-logout'] !== undefined) await tp.session.logout(native)
        else if (native.headers['x-destroy'] !== undefined) await native.session.destroy()
        else return false
        return true
      }
      const stream: any = sse(live, { topics: () => 'a' })
      return [
        session,
        parts.keys,
        (native: any, second: any, third: any) =>
          third === undefined
            ? act(native).then((isDone) => (isDone ? second() : stream(native, second)))
            : void act(native).then(
                (isDone) => (isDone ? third() : stream(native, second, third)),
                third,
              ),
      ]
    },
  })
  onTestFinished(() => app.tp.close())
  // Supertest would close a server that does not listen yet.
  await once(app.server, 'listening')
  return Object.assign(app, parts)
}

const login = async (app: App, user: string): Promise<{ cookie: string }> => {
  const reply = await app.get('/', { 'x-login': user })
  expect(reply.status).toBe(200)
  return { cookie: reply.headers['set-cookie']![0]!.split(';', 1)[0]! }
}

async function streamOf(app: App, headers: Record<string, string>): Promise<EventClient> {
  const client = await openEvents(app.server, '/', headers)
  expect(client.status).toBe(200)
  await until('it has joined', () => client.lastEventId !== '')
  return client
}

describe.each(bothEngines())('revocation, $name', ({ open }) => {
  it.each(apps)(
    '$name: ends the streams of what is revoked, in every process, and no others',
    async (kind) => {
      const { prefix, store } = open()
      const revoked = new Set<string>()
      const [here, there] = [
        await start(kind, { prefix, store }, revoked),
        await start(kind, { prefix, store }, revoked),
      ]
      const [phone, laptop, tablet, bob] = [
        await login(here, 'ann'),
        await login(here, 'ann'),
        await login(here, 'ann'),
        await login(here, 'bob'),
      ]
      const [key, otherKey] = [here.keys.generate(), here.keys.generate()]
      const bearer = (each: { key: string }) => ({ authorization: `Bearer ${each.key}` })
      const enter = async (headers: Record<string, string>): Promise<EventClient[]> => [
        await streamOf(here, headers),
        await streamOf(there, headers),
      ]
      const streams = {
        phone: await enter(phone),
        laptop: await enter(laptop),
        tablet: await enter(tablet),
        bob: await enter(bob),
        key: await enter(bearer(key)),
        otherKey: await enter(bearer(otherKey)),
      }
      const over = (): string =>
        Object.entries(streams)
          .filter(([, clients]) => clients.every(({ isOver }) => isOver))
          .map(([name]) => name)
          .join(' ')
      const any = (): number =>
        Object.values(streams)
          .flat()
          .filter(({ isOver }) => isOver).length

      await here.get('/', { ...phone, 'x-logout': '1' })
      await until('those of the session', () => over() === 'phone')
      expect(any()).toBe(2)
      await here.get('/', { ...tablet, 'x-destroy': '1' })
      await until('those of the other session', () => over() === 'phone tablet')
      revoked.add(key.digest)
      await here.keys.revoke(key.digest)
      await until('those of the key', () => over() === 'phone tablet key')
      expect((await openEvents(there.server, '/', bearer(key))).status).toBe(401)
      await there.tp.sessions.revokeAll('ann')
      await until('those of the user', () => over() === 'phone laptop tablet key')
      const [session] = await here.tp.sessions.list('bob')
      await there.tp.sessions.revoke(session!.handle)
      await until('those of the handle', () => over() === 'phone laptop tablet bob key')
      expect(any()).toBe(10)
      await here.live.publish('a', 1)
      await until('the others go on', () =>
        streams.otherKey.every(({ events }) => events.length === 1),
      )
    },
  )
})

it('two tenants with the same user: only the streams of one end', async () => {
  const tenant = ({ headers }: any): string => headers['x-tenant']
  const app = await start(apps[0]!, { store: testStore(), tenant })
  const enter = async (id: string): Promise<EventClient> => {
    const reply = await app.get('/', { 'x-login': 'ann', 'x-tenant': id })
    const cookie = reply.headers['set-cookie']![0]!.split(';', 1)[0]!
    return await streamOf(app, { cookie, 'x-tenant': id })
  }
  const [a, b] = [await enter('a'), await enter('b')]
  await app.tp.sessions.revokeAll('ann', { tenant: 'a' })
  await until('that of the tenant', () => a.isOver)
  await app.live.publish('a', 1, { tenant: 'b' })
  await until('the other goes on', () => b.events.length === 1)
})

it('while Redis is away the streams of this process end, and the rest is reported', async () => {
  const store = testStore()
  const app = await start(apps[0]!, { store })
  const errors: unknown[] = []
  app.tp.on('error', ({ feature, name }) => errors.push([feature, name]))
  const ann = await streamOf(app, await login(app, 'ann'))
  store.fail()
  await expect(app.tp.sessions.revokeAll('ann')).rejects.toMatchObject({ code: 'TP_UNAVAILABLE' })
  await until('it has ended', () => ann.isOver)
  await until('it is reported', () => errors.length > 0)
  expect(errors).toEqual([['sse', 'revoked']])
})
