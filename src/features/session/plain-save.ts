import { createHash } from 'node:crypto'
import { operation, type Operation, type OperationReply } from '../../store/store.ts'
import type { Kept } from './members.ts'
import lua from './plain-save.lua'

export const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

/** Stores a value in connect-redis's form: compare-and-set. Keys, arguments and reply: see plain-save.lua. */
export const plainSave: Operation<OperationReply[]> = operation<OperationReply[]>({
  name: 'session.plainSave',
  refuseLate: true,
  lua,
  memory(database, [session], [base, ttl, value], now) {
    if (base !== '') {
      const kept = database.get<Kept>(session!)
      if (!kept) return ['gone']
      if (sha1(kept.blob) !== base) return ['conflict', kept.blob]
    }
    database.set(
      session!,
      { blob: String(value), until: now + Number(ttl) } satisfies Kept,
      Number(ttl),
    )
    return ['saved']
  },
})
