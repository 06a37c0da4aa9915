import { operation, type Operation } from '../../store/store.ts'
import { notifyNext, leaveQueue } from '../wait-queue.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import lua from './leave.lua'
import { keepPlaces, placesOf } from './places.ts'

/** Gives a place back. Keys, arguments and reply: see leave.lua. */
export const leave: Operation<number> = operation({
  name: 'semaphore.leave',
  lua: `${whole}\n${line}\n${lua}`,
  memory(database, [key, queue], [owner, channel], now) {
    const places = placesOf(database, key!)
    const wasIn = (places.get(String(owner)) ?? 0) > now
    places.delete(String(owner))
    keepPlaces(database, key!, places, now)
    leaveQueue(database, queue!, String(owner), now)
    notifyNext(database, queue!, String(owner), String(channel), now)
    return wasIn ? 1 : 0
  },
})
