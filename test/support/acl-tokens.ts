import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { turnpike } from '../../src/node.ts'
import { apiKeys, oneTimeTokens, refreshTokens } from '../../src/tokens.ts'
import { until } from './until.ts'

/** Tokens of all kinds: issued, used, exchanged, driven out, listed, revoked, told to other processes. */
export async function useTokens(
  tp: ReturnType<typeof turnpike>,
  must: (what: string, holds: unknown) => void,
  isBroken: () => boolean,
): Promise<void> {
  const codes = oneTimeTokens(tp, {
    purpose: 'code',
    format: 'digits:6',
    cooldown: 0,
    pepper: 'p'.repeat(32),
  })
  const address = '192.0.2.1'
  const issued = await codes.issue('ann', { address })
  const wrong = issued.code === '000000' ? '000001' : '000000'
  const refused = await codes.consume('ann', wrong, { address }).catch(({ code }) => code)
  must('a wrong code', refused === 'TP_TOKEN_INVALID')
  must('revoked, and remembered', await codes.revoke('ann'))
  const { code } = await codes.issue('bob', { address })
  must('a right code', (await codes.consume('bob', code, { address })).subject === 'bob')
  const links = oneTimeTokens(tp, { purpose: 'link', cooldown: 0 })
  await links.issue('ann')
  must('revoked, and forgotten', await links.revoke('ann'))

  const refresh = refreshTokens(tp, { maxPerUser: 2, grace: 0 })
  const first = await refresh.issue('ann')
  const second = await refresh.rotate(first.token)
  const reused = await refresh.rotate(first.token).catch((error: { code: string }) => error.code)
  must('used again', reused === 'TP_TOKEN_REUSED')
  must('revoked', !(await refresh.revoke(second.token)))
  for (let i = 0; i < 3; i++) await refresh.issue('ann')
  must('listed', (await refresh.list('ann')).length === 2)
  must('all revoked', (await refresh.revokeUser('ann')) === 2)

  const keys = apiKeys(tp, { lookup: () => ({ user: 'ann' }), checksum: false, near: '1m' })
  const server = createServer((req, res) => {
    keys(req, res, (error) => void res.writeHead(error ? 500 : 200).end(String(error)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const status = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-api-key': 'k' } })).status
  try {
    must('a key', (await status()) === 200)
    const used = async (): Promise<unknown> => isBroken() || keys.lastUsed(keys.digest('k'))
    await until('its use is noted', used)
    must('invalidated', await keys.invalidate(keys.digest('k')))
    must('again', (await status()) === 200)
    must('revoked', await keys.revoke(keys.digest('k')))
    must('refused', (await status()) === 401)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
