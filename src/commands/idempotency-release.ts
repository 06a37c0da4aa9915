/** `turnpike idempotency release`: lets a stuck request run again. */
import { releaseKey } from '../features/idempotency/inspection.ts'
import { CONTEXT } from '../extension.ts'
import { CommandError, type Command } from './command.ts'
import { makeChange, nothingToChange } from './change.ts'
import { serverTime } from './find-keys.ts'
import { readRecord, recordKey } from './idempotency.ts'
import { formatSpan } from './format.ts'

export const idempotencyRelease: Command = {
  name: 'idempotency release',
  usage: 'ID',
  takes: [1, 1],
  summary: 'Release the key of a stuck request, so that the client can send it again.',
  notes: [
    'With `onCrash: conflict` such a key is refused until it expires. Find out first whether the request had its effect: it will run again. Results of steps are kept.',
  ],
  options: {
    force: {
      type: 'boolean',
      help: 'Also release a request whose lease has not ended. It may still run.',
    },
  },
  redis: 'write',
  async run(call) {
    const [id = ''] = call.args
    const target = await call.target()
    const access = await target.access('idempotency')
    const key = recordKey(target, id)
    const now = await serverTime(access)
    const record = await readRecord(access, key, id, now)
    if (record === undefined) return nothingToChange('There is no such request.')
    const { attempts, claim, leaseEnds, state } = record
    if (state === 'completed' || state === 'released')
      return nothingToChange(`The request is ${state}: there is nothing to release.`)
    const isRunning = leaseEnds !== undefined && leaseEnds > now
    if (isRunning && call.options['force'] !== true)
      throw new CommandError(
        'usage',
        `The request still runs: its lease ends in ${formatSpan(leaseEnds - now)}. --force releases it all the same, and it may then run twice.`,
      )
    return await makeChange(call, idempotencyRelease, target, {
      subject: id,
      state: [claim, attempts, isRunning],
      lines: [
        `Release the idempotency key ${id}, attempt ${attempts ?? '?'}.`,
        isRunning
          ? 'Its request still runs, and may then run twice.'
          : `Its lease ended ${formatSpan(now - (leaseEnds ?? now))} ago. The request runs again when the client sends it.`,
      ],
      async make() {
        const { store } = target.instance()[CONTEXT]('idempotency')
        // Compares with what was shown: a later attempt stays as it is.
        const released = (await store.run(releaseKey, [key], [claim])) === 1
        return { data: { released }, line: released ? 'Released.' : 'It has changed meanwhile.' }
      },
    })
  },
}
