/** `refusals` decides who answers refused requests, for all features of an instance. */
import express from 'express'
import express4 from 'express4'
import Koa from 'koa'
import koa2 from 'koa2'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { turnpike as forExpress } from '../../src/express.ts'
import { extension } from '../../src/extension.ts'
import { turnpike as forKoa } from '../../src/koa.ts'
import { turnpike as forNode } from '../../src/node.ts'
import { testStore } from '../../src/testing.ts'

const refusal = { status: 429, code: 'TP_LIMITED', detail: 'no', retryAfterMs: 60_000 } as const
const gate = (tp: any): any =>
  extension(tp, 'gate', (context) => context.mount({ name: 'gate', handle: () => ({ refusal }) }))

type Refusals = 'reply' | 'next' | undefined
const store = testStore()
const applications: [string, (refusals: Refusals) => unknown][] = [
  ...([express4, express] as any[]).map(
    (framework, index): [string, (refusals: Refusals) => unknown] => [
      `Express ${index + 4}`,
      (refusals) =>
        framework()
          .use(gate(forExpress({ store, ...(refusals && { refusals }) })))
          .use((error: any, _req: any, res: any, _next: any) =>
            res.status(error.status).json({ caught: error.code }),
          ),
    ],
  ),
  ...([koa2, Koa] as any[]).map((framework, index): [string, (refusals: Refusals) => unknown] => [
    `Koa ${index + 2}`,
    (refusals) =>
      new framework()
        .use(async (ctx: any, next: any) => {
          try {
            await next()
          } catch (error: any) {
            ctx.status = error.status
            ctx.body = { caught: error.code }
          }
        })
        .use(gate(forKoa({ store, ...(refusals && { refusals }) })))
        .callback(),
  ]),
]

describe.each(applications)('refusals on %s', (_, application) => {
  it.each([undefined, 'reply'] as const)('are answered by turnpike (%s)', async (refusals) => {
    const { body, headers } = await supertest(application(refusals) as never)
      .get('/')
      .expect(429)
    expect(body).toEqual({ title: 'Too Many Requests', status: 429, detail: 'no' })
    expect(headers['retry-after']).toBe('60')
  })

  it("are passed to the application's error handler with 'next'", async () => {
    const { body, headers } = await supertest(application('next') as never)
      .get('/')
      .expect(429)
    expect(body).toEqual({ caught: 'TP_LIMITED' })
    expect(headers['retry-after']).toBe('60')
  })
})

it.each([forExpress, forKoa, forNode])('no other value is accepted', (turnpike: any) => {
  expect(() => turnpike({ store, refusals: 'nxt' })).toThrow(
    /refusals must be .*Did you mean 'next'/,
  )
})
