/** `turnpike locks break`: releases a lock or a permit in its holder's place. */
import { CONTEXT } from '../extension.ts'
import { releasePermit } from '../features/semaphore/inspection.ts'
import { CommandError, type Command, type CommandCall, type CommandResult } from './command.ts'
import { makeChange, nothingToChange } from './change.ts'
import { serverTime } from './find-keys.ts'
import { lockTag, readHeld, type HeldRow } from './locks.ts'
import { formatSpan } from './format.ts'

export const locksBreak: Command = {
  name: 'locks break',
  usage: 'NAME',
  takes: [1, 1],
  summary: 'Release a lock, or a permit of a semaphore, in place of its holder.',
  notes: [
    'The holder learns it with its next renewal: its signal is aborted. Only the lease that was shown is ended, not a later one. Work that ignores its signal goes on: write with the fencing token.',
  ],
  options: {
    permit: {
      type: 'string',
      value: 'HOST/PID/ID',
      help: 'The permit of the semaphore NAME to release. `turnpike locks NAME` shows holder and ID.',
    },
  },
  redis: 'write',
  examples: [
    'turnpike locks break nightly-report --reason "worker hangs"',
    'turnpike locks break exports --permit web-1/42/1.5 --reason "worker hangs"',
  ],
  async run(call) {
    if (call.options['permit'] !== undefined) return await breakPermit(call)
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

/** Releases a permit of a semaphore, or of `tp.concurrency()`. */
async function breakPermit(call: CommandCall): Promise<CommandResult> {
  const [name = ''] = call.args
  const wanted = String(call.options['permit'])
  if (!/^[\w.-]{1,63}\/\d{1,10}\/[\w.-]{1,40}$/.test(wanted))
    throw new CommandError('usage', `--permit must be like web-1/42/1.5. It is '${wanted}'.`)
  const target = await call.target()
  const access = await target.access('lock')
  const kinds = ['semaphore', 'concurrency'] as const
  const all = await Promise.all(kinds.map((kind) => readHeld(target, access, kind, name)))
  const held = all.flat().find((row) => shownPermit(row) === wanted)
  if (held?.owner === undefined)
    return nothingToChange(
      `${name} has no permit ${wanted}: it was released, or its lease has ended.`,
    )
  const { kind, owner, since, until, waiting } = held
  const now = await serverTime(access)
  return await makeChange(call, locksBreak, target, {
    subject: `${name} ${wanted}`,
    state: [owner, since],
    lines: [
      `Release the permit ${wanted} of ${name}.`,
      `It has been held for ${formatSpan(now - since)}, its lease ends in ${formatSpan(until - now)}, ${waiting} wait.`,
    ],
    async make() {
      const { store } = target.instance()[CONTEXT]('lock')
      const keys = target.keys('lock')
      const tag = lockTag(target, name)
      const key = keys.key(kind, tag)
      const keysOfPermit = [key, `${key}:since`, `${key}:queue`, `${key}:alive`]
      const args = [owner, keys.channel(kind, tag)]
      const wasReleased = (await store.run(releasePermit, keysOfPermit, args)) === 1
      return {
        data: { released: wasReleased, permit: wanted },
        line: wasReleased ? 'Released.' : 'The holder has released it meanwhile.',
      }
    },
  })
}

const shownPermit = ({ host, permit, pid }: HeldRow): string => `${host}/${pid}/${permit}`
