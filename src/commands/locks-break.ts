/** `turnpike locks break`: releases a lock in its holder's place. */
import type { Command } from './command.ts'
import { makeChange, nothingToChange } from './change.ts'
import { serverTime } from './find-keys.ts'
import { readHeld } from './locks.ts'
import { formatSpan } from './format.ts'

export const locksBreak: Command = {
  name: 'locks break',
  usage: 'NAME',
  takes: [1, 1],
  summary: 'Release a lock in place of its holder.',
  notes: [
    'The holder learns it with its next renewal: its signal is aborted. Only the lease that was shown is ended, not a later one. Work that ignores its signal goes on: write with the fencing token.',
  ],
  redis: 'write',
  examples: ['turnpike locks break nightly-report --reason "worker hangs"'],
  async run(call) {
    const [name = ''] = call.args
    const target = await call.target()
    const access = await target.access('lock')
    const [held] = await readHeld(target, access, 'lock', name)
    if (held?.token === undefined) return nothingToChange(`The lock ${name} is free.`)
    const { host, pid, since, token, until, waiting } = held
    const now = await serverTime(access)
    const { tenant } = target
    return await makeChange(call, locksBreak, target, {
      subject: name,
      state: [host, pid, since, token],
      lines: [
        `Release the lock ${name}.`,
        `${host}/${pid} has held it for ${formatSpan(now - since)}, its lease ends in ${formatSpan(until - now)}, ${waiting} wait.`,
      ],
      async make() {
        const parts = name.split(':')
        const wasReleased = await target
          .instance()
          .locks.release(parts.length === 1 ? name : parts, {
            token,
            ...(tenant !== undefined && { tenant }),
          })
        return {
          data: { released: wasReleased, token },
          line: wasReleased ? 'Released.' : 'The holder has released it meanwhile.',
        }
      },
    })
  },
}
