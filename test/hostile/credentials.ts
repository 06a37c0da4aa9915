/** What clients of the application under attack have: sessions, keys, codes and tokens that exist. */
import { once } from 'node:events'
import { request } from 'node:http'
import { until } from '../support/until.ts'
import { USERS, type Target } from './client.ts'
import type { Application } from './process.ts'
import type { Credentials } from './requests.ts'

/** Sends a request as a good client does. */
export async function send(
  port: number,
  method: string,
  target: string,
  headers = {},
): Promise<{ status: number; cookie: string }> {
  const req = request({
    port,
    method,
    path: target,
    headers: { host: 'shop', ...headers },
    agent: false,
  }).end()
  const [res] = await once(req, 'response')
  res.resume()
  await once(res, 'end')
  return { status: res.statusCode, cookie: res.headers['set-cookie']?.[0]?.split(';')[0] ?? '' }
}

/** Makes what clients have: sessions by HTTP, the rest in the application. */
export async function credentialsOf(
  application: Application,
  epoch: string,
  count: number,
): Promise<Target['credentials']> {
  type Issued = Pick<Credentials, 'keys' | 'codes' | 'refresh'>
  const issued = await application.ask<Record<string, Issued>>('issue', Math.ceil(count))
  /** Logs in. On a busy machine Redis may not answer in time. */
  const session = (port: number, user: string): Promise<string> =>
    until('a session', async () => (await send(port, 'POST', '/signin', { 'x-user': user })).cookie)
  const sessions = (port: number, user: string): Promise<string[]> =>
    Promise.all(Array.from({ length: 4 }, () => session(port, user)))
  const credentials: Record<string, Credentials[]> = {}
  for (const [name, made] of Object.entries(issued))
    credentials[name] = await Promise.all(
      USERS.map(async (user) => {
        const [cookies, doomed] = await Promise.all([
          sessions(application.ports[name]!, user),
          sessions(application.ports[name]!, user),
        ])
        return { ...made, user, cookies, doomed, epoch }
      }),
    )
  return credentials
}
