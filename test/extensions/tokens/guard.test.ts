import { describe, expect, test } from 'vitest'
import { oneTimeTokens, type OneTimeTokens } from '../../../src/tokens.ts'
import { testStore } from '../../../src/testing.ts'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'

const OPTIONS = {
  purpose: 'verify',
  format: 'digits:6',
  pepper: 'a pepper that only the tests know',
} as const

describe.each(bothEngines())('the $name engine', ({ open }) => {
  describe.each(apps)('a guard on $name', ({ start }) => {
    function setUp(options: object = {}, guard: object = {}) {
      const opened = open()
      let tokens!: OneTimeTokens<any, any>
      const app = start({
        options: { store: opened.store, prefix: opened.prefix },
        mount(tp) {
          tokens = oneTimeTokens(tp, { ...OPTIONS, ...options })
          return [
            tokens.guard({
              subject: (native: any) => native.headers['x-subject'],
              code: (native: any) => native.headers['x-code'],
              ...guard,
            }),
          ]
        },
        handle(native) {
          const exposed = native.oneTimeToken ?? native.state?.oneTimeToken
          return [200, { token: exposed, same: exposed === tokens.of(native) }]
        },
      })
      const send = (subject?: string, code?: string) =>
        app.post('/', {
          ...(subject !== undefined && { 'x-subject': subject }),
          ...(code !== undefined && { 'x-code': code }),
        })
      const issue = async (subject: string, data?: unknown): Promise<string> =>
        (await tokens.issue(subject, { data })).code!
      return { ...opened, app, tokens, send, issue }
    }

    test('lets the right code pass once, with what was bound to it', async () => {
      const { send, issue } = setUp()
      const code = await issue('ann', { plan: 'pro' })
      const passed = await send('ann', code)
      expect(passed.status).toBe(200)
      const { token, same } = JSON.parse(passed.text)
      expect(token).toMatchObject({ subject: 'ann', data: { plan: 'pro' } })
      expect(same).toBe(true)
      expect((await send('ann', code)).status).toBe(410)
    })

    test('the answer to a wrong code and to one that was never issued is the same', async () => {
      const { send, issue } = setUp()
      const code = await issue('ann')
      const answers = [
        await send('ann', code === '000000' ? '000001' : '000000'),
        await send('bob', '000000'),
      ]
      const [wrong, unknown] = answers.map(({ status, text, headers }) => ({
        status,
        text,
        headers: { ...headers, date: '' },
      }))
      expect(wrong).toEqual(unknown)
      expect(wrong!.status).toBe(410)
      expect(answers[0]!.headers['content-type']).toBe('application/problem+json')
      expect(answers[0]!.headers['cache-control']).toBe('no-store')
    })

    test('what is missing or cannot be a code is 400', async () => {
      const { send } = setUp()
      for (const [subject, code] of [
        ['ann', undefined],
        [undefined, '123456'],
        ['ann', '12345'],
        ['x'.repeat(257), '123456'],
      ] as const)
        expect((await send(subject, code)).status).toBe(400)
    })

    test('many wrong codes from one address: 429 with Retry-After, also for the right one', async () => {
      const { send, issue, advance } = setUp({ addressLimit: 5, addressWindow: '10m' })
      const code = await issue('ann')
      for (let i = 0; i < 5; i++) expect((await send(`user${i}`, '000000')).status).toBe(410)
      const refused = await send('ann', code)
      expect(refused.status).toBe(429)
      expect(refused.headers['retry-after']).toBe('120')
      await advance('2m')
      expect((await send('ann', code)).status).toBe(200)
    })

    test('the application phrases the refusal', async () => {
      const { send } = setUp(
        {},
        {
          reply: (_native: unknown, { status }: { status: number }) => ({
            status: status === 410 ? 422 : status,
            body: { error: 'nope' },
          }),
        },
      )
      const refused = await send('ann', '000000')
      expect([refused.status, refused.text]).toEqual([422, '{"error":"nope"}'])
    })

    test('a link needs no subject', async () => {
      const opened = open()
      let links!: OneTimeTokens<any, any>
      const app = start({
        options: { store: opened.store, prefix: opened.prefix },
        mount(tp) {
          links = oneTimeTokens(tp, { purpose: 'reset' })
          return [links.guard({ code: (native: any) => native.headers['x-code'] })]
        },
        handle: (native) => [200, { subject: links.of(native)!.subject }],
      })
      const { code } = await links.issue(42)
      expect(JSON.parse((await app.post('/', { 'x-code': code! })).text)).toEqual({ subject: 42 })
      expect((await app.post('/', { 'x-code': code! })).status).toBe(410)
      expect((await app.post('/', { 'x-code': code!.slice(1) })).status).toBe(400)
    })

    test('a token of one tenant is worth nothing for another', async () => {
      const opened = open()
      let tokens!: OneTimeTokens<any, any>
      const app = start({
        options: {
          store: opened.store,
          prefix: opened.prefix,
          tenant: (native: any) => native.headers['x-tenant'],
        },
        mount(tp) {
          tokens = oneTimeTokens(tp, OPTIONS)
          return [
            tokens.guard({ subject: () => 'ann', code: (native: any) => native.headers['x-code'] }),
          ]
        },
      })
      const { code } = await tokens.issue('ann', { tenant: 'acme' })
      const send = (tenant: string) => app.post('/', { 'x-code': code!, 'x-tenant': tenant })
      expect((await send('globex')).status).toBe(410)
      expect((await send('acme')).status).toBe(200)
    })
  })
})

describe.each(apps)('on $name', ({ start }) => {
  test('while Redis is away a guard answers 503 with Retry-After, and says so', async () => {
    const store = testStore()
    let tokens!: OneTimeTokens<any, any>
    const app = start({
      options: { store },
      mount(tp) {
        tokens = oneTimeTokens(tp, OPTIONS)
        return [
          tokens.guard({ subject: () => 'ann', code: (native: any) => native.headers['x-code'] }),
        ]
      },
    })
    const unavailable: object[] = []
    app.tp.on('unavailable', (event) => unavailable.push(event))
    const { code } = await tokens.issue('ann')
    store.fail()
    const answer = await app.post('/', { 'x-code': code! })
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2'])
    expect(unavailable).toEqual([
      {
        feature: 'oneTimeTokens',
        name: 'verify',
        reason: 'not-ready',
        uncertain: false,
        rule: 'closed',
      },
    ])
    store.recover()
    expect((await app.post('/', { 'x-code': code! })).status).toBe(200)
  })

  test('a guard on GET works, and one warning says why it should not be there', async () => {
    let tokens!: OneTimeTokens<any, any>
    const app = start({
      options: { store: testStore() },
      mount(tp) {
        tokens = oneTimeTokens(tp, { purpose: 'link' })
        return [tokens.guard({ code: (native: any) => native.headers['x-code'] })]
      },
    })
    for (let i = 0; i < 3; i++) {
      const { code } = await tokens.issue(i)
      expect((await app.get('/', { 'x-code': code! })).status).toBe(200)
    }
    expect(app.warnings.filter((text) => text.includes('Mail scanners'))).toHaveLength(1)
  })

  test('a subject or code that throws reaches the error handler', async () => {
    const app = start({
      options: { store: testStore() },
      mount: (tp) => [
        oneTimeTokens(tp, OPTIONS).guard({
          subject: () => 'ann',
          code: () => {
            throw Object.assign(new Error('teapot'), { status: 418 })
          },
        }),
      ],
    })
    expect((await app.post('/')).status).toBe(418)
  })
})
