/** `turnpike sessions revoke` and `revoke-all`: end sessions. */
import { inspectSession, keysOfHandle } from '../features/session/inspection.ts'
import { CommandError, type Command } from './command.ts'
import { makeChange, nothingToChange } from './change.ts'
import { formatTime } from './format.ts'
import { requireSecret, SECRET_OPTIONS, secretOf } from './sessions.ts'

const tenantOption = (tenant: string | undefined): { tenant?: string } =>
  tenant === undefined ? {} : { tenant }

export const sessionsRevoke: Command = {
  name: 'sessions revoke',
  usage: 'HANDLE',
  takes: [1, 1],
  summary: 'End one session, by its handle.',
  notes: ['The handles are those of `turnpike sessions USER` and of events.'],
  redis: 'write',
  async run(call) {
    const [handle = ''] = call.args
    const target = await call.target()
    const keys = keysOfHandle(target.keys('session'), handle, target.tenant)
    if (keys === undefined)
      throw new CommandError('usage', `'${handle}' is no handle of \`turnpike sessions\`.`)
    const access = await target.access('session')
    const text = (await access.send('GET', keys.session)) as string | null
    const found = text === null ? undefined : inspectSession(text, keys.digest, null)
    if (found === undefined) return nothingToChange('There is no such session.')
    const { created, ip, user, userAgent } = found
    return await makeChange(call, sessionsRevoke, target, {
      subject: handle,
      state: [created, user],
      lines: [
        `End the session ${handle} of ${user ?? 'an unknown user'}, since ${formatTime(created)}.`,
        `Address ${ip ?? '-'}, user agent ${userAgent ?? '-'}.`,
      ],
      async make() {
        const revoked = await target.instance().sessions.revoke(handle, tenantOption(target.tenant))
        return { data: { revoked }, line: revoked ? 'Ended.' : 'It has ended meanwhile.' }
      },
    })
  },
}

export const sessionsRevokeAll: Command = {
  name: 'sessions revoke-all',
  usage: 'USER',
  takes: [1, 1],
  summary: 'End all sessions of a user, also those that no list knows.',
  notes: [
    'The secret of tp.session() leads to the sessions: by --app, --secret-env or --secret-file.',
  ],
  options: SECRET_OPTIONS,
  redis: 'write',
  examples: [
    'turnpike sessions revoke-all ada --secret-env SESSION_SECRET --reason "stolen laptop"',
  ],
  async run(call) {
    const [user = ''] = call.args
    const target = await call.target()
    const isOwn = target.hasApp && secretOf(call) === undefined
    const secret = isOwn ? undefined : requireSecret(call)
    return await makeChange(call, sessionsRevokeAll, target, {
      subject: user,
      lines: [`End all sessions of ${user}.`],
      typed: user,
      async make() {
        const tp = target.instance()
        // The mount makes the secret known. It serves no request.
        if (secret !== undefined) tp.session({ secret })
        const count = await tp.sessions.revokeAll(user, tenantOption(target.tenant))
        return { data: { count }, line: `Ended. The index knew ${count}.` }
      },
    })
  },
}
