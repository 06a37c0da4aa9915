import { operation, type Operation } from '../../store/store.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import lua from './extend.lua'
import { keepPlaces, placesOf } from './places.ts'

/** Lengthens the lease of a place. One that comes late must not. See extend.lua. */
export const extend: Operation<number> = operation({
  name: 'semaphore.extend',
  lua: `${whole}\n${line}\n${lua}`,
  refuseLate: true,
  memory(database, [key], [owner, lease], now) {
    const places = placesOf(database, key!)
    if ((places.get(String(owner)) ?? 0) <= now) return 0
    places.set(String(owner), now + Number(lease))
    keepPlaces(database, key!, places, now)
    return 1
  },
})
