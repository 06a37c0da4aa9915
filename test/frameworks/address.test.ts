/** The client's address: how gateways write it, and what is said about settings for proxies. */
import { createServer, request } from 'node:http'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import Koa from 'koa'
import supertest from 'supertest'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connectAdapter } from '../../src/http/connect.ts'
import { koaAdapter } from '../../src/http/koa.ts'
import { ask, feature, frameworks } from './harness.ts'

const tell = feature((x) => ({ reply: { status: 200, body: x.ip } }))
const headers = { 'X-Forwarded-For': '192.0.2.7, 198.51.100.1' }
const gateway = (address: string): object => ({ 'X-Forwarded-For': address })

describe.each(frameworks)('on $name', ({ start, kind }) => {
  const [everybody, oneProxy] =
    kind === 'koa' ? [{ proxy: true }, { proxy: true, maxIpsCount: 1 }] : [true, 1]
  const isNode = kind === 'node'
  const line =
    kind === 'koa' ? 'new Koa({ proxy: true, maxIpsCount: 1 })' : "app.set('trust proxy', 1)"
  const unset = isNode ? 'tp.key.address(' : line
  const cases: [string, unknown, object, string, string | undefined][] = [
    ['no proxy', undefined, headers, '127.0.0.1', unset],
    ['no proxy, without the header', undefined, {}, '127.0.0.1', undefined],
    [
      'one proxy',
      oneProxy,
      headers,
      isNode ? '127.0.0.1' : '198.51.100.1',
      isNode ? unset : undefined,
    ],
    ['one proxy, without the header', oneProxy, {}, '127.0.0.1', undefined],
    ['everybody', everybody, headers, '127.0.0.1', unset],
    ['everybody, without the header', everybody, {}, '127.0.0.1', undefined],
  ]
  it.each(cases)('is found trusting %s', async (_, trustProxy, headers, expected, warning) => {
    const app = await start({ stack: [tell], trustProxy })
    const asked = { headers: headers as Record<string, string> }
    expect((await ask(app, asked)).text).toBe(expected)
    await ask(app, asked)
    expect(app.warnings).toHaveLength(warning === undefined ? 0 : 1)
    if (warning !== undefined) expect(app.warnings[0]).toContain(warning)
  })

  if (isNode) return
  it.each([
    ['203.0.113.7:4711', '203.0.113.7'],
    ['[2001:db8::7]:4711', '2001:db8::7'],
    ['[2001:db8::7]', '2001:db8::7'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%eth0]:4711', 'fe80::1'],
  ])('is an address where a gateway writes %s', async (written, expected) => {
    const app = await start({ stack: [tell], trustProxy: oneProxy })
    expect((await ask(app, { headers: gateway(written) as never })).text).toBe(expected)
    expect(app.warnings).toEqual([])
  })

  it.each(['unknown', '_hidden', '1.2.3', 'x'.repeat(500), '"\u001b[31m"'])(
    'is none where a gateway writes %j, and that is said once',
    async (written) => {
      const app = await start({ stack: [tell], trustProxy: oneProxy })
      const field = written.replaceAll('\u001b', '')
      for (let i = 0; i < 2; i++)
        expect((await ask(app, { headers: gateway(field) as never })).text).toBe('')
      await ask(app, { headers: gateway('another') as never })
      expect(app.warnings).toHaveLength(1)
      expect(app.warnings[0]).toContain(JSON.stringify(field.slice(0, 60)).slice(0, -1))
      expect(app.warnings[0]!.length).toBeLessThan(400)
    },
  )
})

it('a framework that writes the address onto the request of node:http is not said to be behind a proxy', async () => {
  const warnings: string[] = []
  const tellAddress = connectAdapter({ budgetMs: 1, warn: (text) => warnings.push(text) }).mount(
    tell,
  )
  // As @fastify/middie does.
  const server = createServer((req, res) => {
    Object.assign(req, { ip: req.socket.remoteAddress })
    tellAddress(req, res, () => {})
  })
  onTestFinished(() => void server.close())
  await supertest(server).get('/').expect(200)
  expect(warnings).toEqual([])
  await supertest(server).get('/').set(headers).expect(200)
  expect(warnings).toEqual([expect.stringContaining('tp.key.address(')])
})

describe('on a Unix socket', () => {
  const path = (): string => join(mkdtempSync(join(tmpdir(), 'socket-')), 's')
  const asked = (server: ReturnType<typeof createServer>): Promise<string> => {
    const socketPath = path()
    onTestFinished(() => void server.close())
    return new Promise((resolve, reject) => {
      server.listen(socketPath, () => {
        const req = request({ socketPath, agent: false }, (res) => {
          let text = ''
          res.on('data', (chunk) => (text += String(chunk))).on('end', () => resolve(text))
        })
        req.on('error', reject).end()
      })
    })
  }
  const applications: [string, string, (warn: (text: string) => void) => any][] = [
    [
      'Express',
      "app.set('trust proxy', 1)",
      (warn) => express().use(connectAdapter({ budgetMs: 1, warn }).mount(tell) as never),
    ],
    [
      'Koa',
      'new Koa({ proxy: true, maxIpsCount: 1 })',
      (warn) => new Koa().use(koaAdapter({ budgetMs: 1, warn }).mount(tell)).callback(),
    ],
    [
      'node:http',
      'Unix socket',
      (warn) => (req: any, res: any) =>
        connectAdapter({ budgetMs: 1, warn }).mount(tell)(req, res, () => {}),
    ],
  ]
  it.each(applications)('there is no address, and %s says so', async (_, line, application) => {
    const warnings: string[] = []
    expect(await asked(createServer(application((text) => warnings.push(text))))).toBe('')
    expect(warnings).toEqual([expect.stringContaining('Unix socket')])
    expect(warnings[0]).toContain(line)
  })
})
