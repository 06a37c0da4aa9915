import { operation, type Operation } from '../../store/store.ts'
import { barOf, lifeOf } from './members.ts'
import lua from './bar.lua'

/** Declares all of a user's sessions of by now dead, but for one. Keys, arguments and reply: see bar.lua. */
export const bar: Operation<number> = operation({
  name: 'session.bar',
  lua,
  memory(database, [key, index], [exempt, remembered], now) {
    const at = Math.max(now, barOf(database, key!).at)
    const life = Math.max(Number(remembered), lifeOf(database, index!, now))
    database.set(key!, exempt === '' ? String(at) : `${at} ${String(exempt)}`, life)
    return at
  },
})
