import { operation, type Operation } from '../../store/store.ts'
import { barOf, leave, ordered, type Kept } from './members.ts'
import { headerOf } from './record.ts'
import lua from './sweep.lua'

/** Removes a batch of the sessions that not-before has declared dead. Keys, arguments and reply: see sweep.lua. */
export const sweep: Operation<number[]> = operation({
  name: 'session.sweep',
  lua,
  memory(database, [index, bar, folder], [first, count], now) {
    const { at, exempt } = barOf(database, bar!)
    const batch = ordered(database, index!).slice(Number(first), Number(first) + Number(count))
    const gone: string[] = []
    let removed = 0
    for (const [member] of batch) {
      const key = folder! + member
      const kept = database.get<Kept>(key)
      const isDead = kept && member !== exempt && (headerOf(kept.blob)?.created ?? 0) <= at
      if (isDead && database.delete(key)) removed++
      if (!kept || isDead) gone.push(member)
    }
    leave(database, index!, gone, now)
    return [batch.length, removed, batch.length - gone.length]
  },
})
