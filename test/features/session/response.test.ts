/** Whatever a response looks like, the session is saved before the client can see its end. */
import { Readable } from 'node:stream'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { apps } from '../../support/apps.ts'
import { bothEngines } from '../../support/engines.ts'
import { cookiesOf, pause, site } from './support.ts'

const engines = bothEngines()
const LATE = 40

type Write = (res: any) => void | Promise<void>

/** The same response written past any framework, and in Koa's own terms where it has some. */
interface Shape {
  name: string
  method?: 'get' | 'head'
  status: number
  text?: string
  write: Write
  koa?: (ctx: any) => void | Promise<void>
}

async function* letters(): AsyncGenerator<string> {
  for (const letter of 'abc') {
    await pause(2)
    yield letter
  }
}

const shapes: Shape[] = [
  {
    name: 'one that streams',
    status: 200,
    text: 'abc',
    write: (res) => void Readable.from(letters()).pipe(res),
    koa: (ctx) => void (ctx.body = Readable.from(letters())),
  },
  {
    name: 'one that ends in several writes',
    status: 200,
    text: 'abc',
    write: async (res) => {
      res.write('a')
      await pause(5)
      res.write('b')
      res.end('c')
    },
  },
  {
    name: 'one with a Content-Length that is written before its end',
    status: 200,
    text: 'abc',
    write: async (res) => {
      res.setHeader('Content-Length', 3)
      res.write('abc')
      await pause(5)
      res.end()
    },
  },
  ...[204, 304].map((status): Shape => ({
    name: String(status),
    status,
    write: (res) => {
      res.statusCode = status
      res.end()
    },
    koa: (ctx) => {
      ctx.status = status
      ctx.body = null
    },
  })),
  {
    name: 'HEAD',
    method: 'head',
    status: 200,
    write: (res) => res.end('abc'),
    koa: (ctx) => void (ctx.body = 'abc'),
  },
]

describe.each(engines)('on the $name engine', ({ open }) => {
  describe.each(apps)('$name', (kind) => {
    const isKoa = kind.name.startsWith('Koa')

    /** An application whose saves take their time, and that knows when one is done. */
    function slow(terminal: any) {
      const opened = open()
      const run = opened.store.run.bind(opened.store)
      const saved = { done: false }
      opened.store.run = async (operation: any, ...rest: any[]) => {
        if (operation.name === 'session.save') await pause(LATE)
        const reply = await (run as any)(operation, ...rest)
        if (operation.name === 'session.save') saved.done = true
        return reply
      }
      return { app: site(kind, opened, { after: () => [terminal] }), saved }
    }

    test.each(shapes)(
      '$name: the session is saved first, and the cookie is there',
      async ({ method = 'get', status, text, write, koa }) => {
        const change = (native: any): void => void (native.session.changed = true)
        const terminal = isKoa
          ? async (ctx: any) => {
              change(ctx)
              if (koa) return await koa(ctx)
              ctx.respond = false
              ctx.res.statusCode = 200
              await write(ctx.res)
            }
          : (req: any, res: any) => {
              change(req)
              void write(res)
            }
        const { app, saved } = slow(terminal)
        const response = await request(app.server)[method]('/')
        expect(saved.done).toBe(true)
        expect(response.status).toBe(status)
        if (text !== undefined) expect(response.text ?? String(response.body)).toBe(text)
        expect(cookiesOf(response)).toHaveLength(1)
      },
    )

    test('one whose handler throws', async () => {
      const { app, saved } = slow(
        isKoa
          ? (ctx: any) => {
              ctx.session.changed = true
              throw new Error('a handler')
            }
          : (req: any, _res: any, next: any) => {
              req.session.changed = true
              next(new Error('a handler'))
            },
      )
      const response = await app.get('/')
      expect(response.status).toBe(500)
      expect(saved.done).toBe(true)
      expect(cookiesOf(response)).toHaveLength(1)
    })
  })
})
