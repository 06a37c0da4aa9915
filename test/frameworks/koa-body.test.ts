import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ask, frameworks, lines, witness, type Handler } from './harness.ts'

const koas = frameworks.filter(({ kind }) => kind === 'koa')

describe.each(koas)('the body of $name', ({ start, name }) => {
  it('is that of Koa when no middleware answers', async () => {
    const { probe, seen } = witness()
    const answer = await ask(await start({ stack: [probe], handler: () => {} }))
    expect(answer).toMatchObject({ status: 404, text: 'Not Found' })
    expect(seen).toMatchObject(
      [{ status: 404, headers: { 'content-type': /text/ } }].map(() => ({})),
    )
    expect(seen[0]?.headers['content-type']).toBe(answer.headers['content-type'])
    expect(String(seen[0]?.body)).toBe('Not Found')
  })

  it('is nothing where null was meant', async () => {
    const { probe, seen } = witness()
    const app = await start({ stack: [probe], handler: ({ send }) => send(200, null) })
    expect((await ask(app)).text).toBe('')
    expect(seen.map(({ body }) => String(body))).toEqual([''])
  })

  it('is framed as without a capture where a stream turns out to be empty', async () => {
    const handler: Handler = ({ stream }) => stream(Readable.from([]))
    const bare = await ask(await start({ stack: [], handler }))
    const { probe, seen } = witness()
    const answer = await ask(await start({ stack: [probe], handler }))
    expect(lines(answer, 'content-length')).toEqual(lines(bare, 'content-length'))
    expect(lines(answer, 'transfer-encoding')).toEqual(lines(bare, 'transfer-encoding'))
    expect(answer.rawHeaders).toContain('Content-Type')
    expect(seen.map(({ body }) => String(body))).toEqual([''])
  })

  it('is a web body, too, where Koa knows them', async () => {
    if (name !== 'Koa 3') return
    const bodies = [
      () => new Blob(['web']),
      () => new Response('web', { headers: { 'X-Inside': 'yes' } }),
      () => new Response('web').body,
    ]
    for (const make of bodies) {
      for (const limit of [2, 3]) {
        const { probe, seen, over } = witness(limit)
        const app = await start({ stack: [probe], handler: ({ send }) => send(200, make()) })
        expect((await ask(app)).text).toBe('web')
        await over
        expect(seen.map(({ body }) => String(body))).toEqual(limit === 3 ? ['web'] : [])
      }
    }
    const { probe, seen } = witness()
    const app = await start({
      stack: [probe],
      handler: ({ send }) => send(200, new Response(null)),
    })
    await ask(app)
    expect(seen.map(({ body }) => String(body))).toEqual([''])
  })
})
