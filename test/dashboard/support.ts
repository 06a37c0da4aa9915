/** The dashboard of an application that has been used, and requests as a browser sends them. */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Beat } from '../../src/operations/beat.ts'
import type { TurnpikeOptions } from '../../src/turnpike.ts'
import { CONTEXT } from '../../src/extension.ts'
import type { App, AppKind } from '../support/apps.ts'

export const OPERATOR = { 'x-who': 'ops' }
export const VIEWER = { 'x-who': 'viewer' }
/** What a browser sends with a request of its own page. */
export const OWN = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' }

/** Who a request says that it is. */
export function authorize(native: { headers: Record<string, string | undefined> }): unknown {
  const who = native.headers['x-who']
  if (who === 'ops') return { can: 'operate', who: 'grace@example.com' }
  return who === 'viewer' ? { can: 'view', who: 'vera' } : undefined
}

export interface Response {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** Returns the port of an application. */
export async function portOf({ server }: App): Promise<number> {
  if (!server.listening) await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Sends a request. A body is sent as it is. */
export async function send(
  app: App,
  path: string,
  {
    body,
    headers = {},
    method = body === undefined ? 'GET' : 'POST',
  }: {
    body?: string | object
    headers?: Record<string, string>
    method?: string
  } = {},
): Promise<Response> {
  const port = await portOf(app)
  return await new Promise((resolve, reject) => {
    const req = httpRequest({ port, path, method, headers, agent: false }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, text }))
      res.on('error', reject)
    })
    req.on('error', reject)
    req.end(typeof body === 'object' ? JSON.stringify(body) : body)
  })
}

/** Starts an application with the dashboard at /ops. */
export function start(kind: AppKind, options: TurnpikeOptions<any>, before: any[] = []): App {
  return kind.start({
    options: {
      prefix: 'shop',
      commandTimeout: '5s',
      requestBudget: '10s',
      logger: false,
      operations: false,
      ...options,
    },
    mount: (tp) => [...before, tp.dashboard({ path: '/ops', authorize })],
  })
}

/** Reports what an instance has mounted, as it would itself after ten seconds. */
export async function report({ tp }: App): Promise<void> {
  const facts = {
    id: `test/${process.pid}/x`,
    host: 'test',
    pid: process.pid,
    since: Date.now(),
    version: undefined,
    status: () => tp.status(),
  }
  const settings = { service: 'shop', release: 'r1', every: 20_000, subjects: true }
  const beat = new Beat(tp[CONTEXT]('operations'), facts, settings)
  // What is refused from now on is reported the next time.
  await beat.write()
  reporters.set(tp, beat)
}
const reporters = new WeakMap<object, Beat>()

export const reportAgain = async ({ tp }: App): Promise<number> => await reporters.get(tp)!.write()
