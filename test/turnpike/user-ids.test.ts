/** The IDs of users are one thing everywhere: strings, numbers, bigints, and ObjectIds. */
import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import { flags } from '../../src/flags.ts'
import { turnpike } from '../../src/node.ts'
import { channels, inbox, presence, progress, sse, subscriptions } from '../../src/realtime.ts'
import { testStore } from '../../src/testing.ts'
import { refreshTokens } from '../../src/tokens.ts'
import { requireUserId, userIdString, type UserId } from '../../src/user-id.ts'
import { apps, type App, type AppKind } from '../support/apps.ts'
import { until } from '../support/until.ts'
import { openEvents } from '../extensions/realtime/event-source.ts'

const SECRET = 'a secret of at least 32 characters'
const HEX = '665f1f77bcf86cd799439011'

/** As MongoDB's driver has it. `toString` lies here: nothing may use it. */
class ObjectId {
  readonly #hex: string
  constructor(hex: string) {
    this.#hex = hex
  }
  toHexString(): string {
    return this.#hex
  }
  toString(): string {
    return '[object ObjectId]'
  }
}

/** IDs that requests name in `x-user`, and the strings that they are. */
const IDS: Record<string, readonly [id: UserId, string: string]> = {
  bigint: [9_007_199_254_740_993n, '9007199254740993'],
  ObjectId: [new ObjectId(HEX), HEX],
}
/** What is nobody's ID: it would be equal for different users, or is a mistake. */
const NO_IDS: Record<string, unknown> = {
  object: { name: 'ann' },
  date: new Date(0),
  bytes: Buffer.from('ann'),
  list: ['ann'],
  NaN: Number.NaN,
  true: true,
  'empty hex': new ObjectId(''),
}
const idOf = (name: string | undefined): unknown =>
  name === undefined ? undefined : name in IDS ? IDS[name]![0] : (NO_IDS[name] ?? name)

interface Running extends App {
  box: ReturnType<typeof inbox<any, any>>
  events: ReturnType<typeof sse<any, any>>
  users: ReturnType<typeof presence<any, any>>
  imports: ReturnType<typeof progress<any, any>>
  runs: () => number
}

/** Every feature that asks who a request's user is. `x-user` names the user, as passport would set it. */
async function start(kind: AppKind): Promise<Running> {
  let parts!: Pick<Running, 'box' | 'events' | 'users' | 'imports'>
  let runs = 0
  const app = kind.start({
    options: { store: testStore() },
    mount(tp) {
      const live = channels(tp)
      const events = sse(live, { topics: () => 'news' })
      parts = { box: inbox(live), events, users: presence(live), imports: progress(live) }
      const at =
        (prefix: string, middleware: any): any =>
        (native: any, second: any, third: any) => {
          const isThere = native.url.startsWith(prefix)
          if (third === undefined) return isThere ? middleware(native, second) : second()
          return isThere ? middleware(native, second, third) : third()
        }
      return [
        (native: any, second: any, third: any) => {
          native.user = { id: idOf(native.headers['x-user']) }
          return (third ?? second)()
        },
        at('/presence', parts.users),
        at('/events', events),
        parts.box.router(),
        parts.imports.router({ authorize: () => true }),
        at('/limited', tp.rateLimit({ limit: 2, window: '1m', key: tp.key.user() })),
        at('/pay', tp.idempotency()),
      ]
    },
    handle: () => [200, `run ${++runs}`],
  })
  onTestFinished(() => app.tp.close())
  await once(app.server, 'listening')
  return Object.assign(app, parts, { runs: () => runs })
}

describe.each(apps)('$name', (kind) => {
  it.each(Object.keys(IDS))('a user with an ID of type %s is found by its string', async (name) => {
    const app = await start(kind)
    const [, user] = IDS[name]!
    const [own, same, other] = [{ 'x-user': name }, { 'x-user': user }, { 'x-user': 'bob' }]

    await app.get('/presence', own)
    await until('the user is online', () => app.users.isOnline(user))
    expect((await app.users.online()).users).toEqual([user])

    await app.box.push(user, 'hello')
    expect((await app.get('/inbox', own)).body.messages).toMatchObject([{ data: 'hello' }])
    expect((await app.get('/inbox', other)).body.messages).toEqual([])

    const stream = await openEvents(app.server, '/events', own)
    expect(stream.status).toBe(200)
    await app.events.end(user)
    await until('the stream has ended', () => stream.isOver)

    const statuses: number[] = []
    for (const headers of [own, same, own, other])
      statuses.push((await app.get('/limited', headers)).status)
    expect(statuses).toEqual([200, 200, 429, 200])

    const pay = async (headers: Record<string, string>): Promise<string> =>
      (await app.post('/pay', { 'idempotency-key': 'k', ...headers })).text
    const first = await pay(own)
    expect([await pay(same), await pay(own)]).toEqual([first, first])
    expect(await pay(other)).not.toBe(first)
    expect(app.warnings).toEqual([])
  })

  it('two users whose IDs are no IDs never share a response, a bucket or an inbox', async () => {
    const app = await start(kind)
    await app.imports.of('import').start()
    for (const name of Object.keys(NO_IDS)) {
      const headers = { 'x-user': name, 'idempotency-key': 'k' }
      const replies = [
        await app.get('/inbox', headers),
        await app.get('/events', headers),
        await app.post('/pay', headers),
      ]
      for (const { body, text } of replies)
        expect(body.code ?? JSON.parse(text).code, name).toBe('TP_KEY')
      // They only look at users: the request is served, and the log says why nobody is noted.
      expect((await app.get('/presence', headers)).status, name).toBe(200)
      const { status } = await openEvents(app.server, '/progress/import/stream', headers)
      expect(status, name).toBe(200)
    }
    for (const { message } of app.errors) expect(message).toContain('the user must be a string')
    expect(await app.users.count()).toBe(0)
    expect(app.runs()).toBe(Object.keys(NO_IDS).length)
    expect(app.warnings.filter((each) => each.startsWith('presence()'))).not.toEqual([])
    expect(app.warnings.filter((each) => each.startsWith('progress()'))).not.toEqual([])
  })

  it('a session belongs to the string of its user, however it was bound', async () => {
    const store = testStore()
    const app = kind.start({
      options: { store },
      mount: (tp) => [
        tp.session({
          secret: SECRET,
          user: (native: any) => idOf(native.headers['x-bound']) as never,
        }),
      ],
      async handle(native) {
        const user = native.headers['x-login']
        if (user !== undefined) await app.tp.session.login(native, idOf(user) as never)
        else native.session.seen = true
        return [200, { userId: native.session.userId }]
      },
    })
    onTestFinished(() => app.tp.close())
    for (const [name, [id, user]] of Object.entries(IDS)) {
      expect((await app.get('/', { 'x-login': name })).text).toBe(JSON.stringify({ userId: user }))
      expect((await app.get('/', { 'x-bound': name })).status).toBe(200)
      expect(await app.tp.sessions.count(user)).toBe(2)
      expect(await app.tp.sessions.list(id)).toMatchObject([{ user }, { user }])
      expect(await app.tp.sessions.revokeAll(id)).toBe(2)
    }
    for (const name of Object.keys(NO_IDS)) {
      expect((await app.get('/', { 'x-login': name })).status, name).toBe(500)
      expect((await app.get('/', { 'x-bound': name })).status, name).toBe(500)
    }
  })
})

it('calls take the same IDs as requests, and refuse the same', async () => {
  const tp = turnpike({ store: testStore() })
  onTestFinished(() => tp.close())
  const live = channels(tp)
  const [box, users, sets] = [inbox(live), presence(live), subscriptions(tp)]
  const tokens = refreshTokens(tp, { ttl: '1h' })
  const switches = flags(tp, { defaults: { beta: false } })
  tp.session({ secret: SECRET })
  for (const [id, user] of Object.values(IDS)) {
    await box.push(id, 1)
    expect(await box.unread(user)).toMatchObject({ messages: 1 })
    users.connection(id)
    await until('the user is online', () => users.isOnline(user))
    expect(await users.isOnline(id)).toBe(true)
    await sets.add(id, 'a')
    expect(await sets.list(user)).toEqual(['a'])
    const issued = await tokens.issue(id)
    expect(issued.user).toBe(user)
    expect(await tokens.list(user)).toHaveLength(1)
    expect(await tokens.revokeUser(id)).toBe(1)
    await switches.set('beta', [{ users: [id] }])
    expect([switches.enabled('beta', { user }), switches.enabled('beta', { user: id })]).toEqual([
      true,
      true,
    ])
    expect(switches.enabled('beta', { user: 'bob' })).toBe(false)
  }
  for (const [name, id] of Object.entries(NO_IDS)) {
    const key = { code: 'TP_KEY' }
    const given = id as UserId
    await expect(box.push(given, 1), name).rejects.toMatchObject(key)
    await expect(users.isOnline(given), name).rejects.toMatchObject(key)
    await expect(sets.list(given), name).rejects.toMatchObject(key)
    await expect(tokens.issue(given), name).rejects.toMatchObject(key)
    await expect(tp.sessions.list(given), name).rejects.toMatchObject({ code: 'TP_OPTION' })
    await expect(switches.set('beta', [{ users: [given] }]), name).rejects.toMatchObject({
      code: 'TP_OPTION',
    })
  }
})

it('an error about a user says what came, and never shows it', () => {
  expect(() => requireUserId({ password: 'hunter2' }, 'sse()')).toThrow(
    'sse(): the user must be a string that is not empty, a finite number, a bigint, or an ObjectId. It is an object. Return its ID, and no promise.',
  )
  expect(() => requireUserId(Symbol('hunter2'), 'sse()')).toThrow('It is of type symbol.')
  expect(() => requireUserId('', 'sse()')).toThrow('It is an empty string.')
  expect([userIdString(0), userIdString(-0), userIdString(0n)]).toEqual(['0', '0', '0'])
})
