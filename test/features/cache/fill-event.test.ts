/** Each response that a handler makes for a cache is reported once, with whether and why not it is stored. */
import { describe, expect, it } from 'vitest'
import type { EventMap } from '../../../src/events.ts'
import { testStore } from '../../../src/testing.ts'
import { express4App, express5, koa3 } from '../../support/serve.ts'

describe.each([express4App, express5, koa3])('$name', ({ serve }) => {
  it('the event fill says what is stored, and why something is not', async () => {
    const fills: EventMap['fill'][] = []
    const { tp, get } = await serve({
      options: { store: testStore() },
      routes: (tp) => ({
        '/stored': tp.cache({ name: 'pages', ttl: '1m', jitter: 0 }),
        '/private': tp.cache({ name: 'own', ttl: '1m' }),
      }),
    })
    tp.on('fill', (event) => fills.push(event))
    await get('/stored')
    await get('/stored')
    await get('/private', { 'x-status': '500' })
    expect(fills).toEqual([
      {
        name: 'pages',
        type: 'stored',
        key: expect.stringContaining('stored'),
        reason: undefined,
        bytes: 2,
        ttlMs: 60_000,
        ms: expect.any(Number),
      },
      {
        name: 'own',
        type: 'not-stored',
        key: expect.stringContaining('private'),
        reason: 'status',
        bytes: undefined,
        ttlMs: undefined,
        ms: expect.any(Number),
      },
    ])
  })
})
