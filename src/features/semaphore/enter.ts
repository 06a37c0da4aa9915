import { operation, type Operation } from '../../store/store.ts'
import { enqueue, leaveQueue } from '../wait-queue.ts'
import line from '../wait-queue.lua'
import whole from '../../store/whole.lua'
import lua from './enter.lua'
import { keepPlaces, placesOf } from './places.ts'

/** Takes a place, or says how long to wait. Keys, arguments and reply: see enter.lua. */
export const enter: Operation<[number, number]> = operation({
  name: 'semaphore.enter',
  lua: `${whole}\n${line}\n${lua}`,
  refuseLate: true,
  memory(database, [key, queue], args, now) {
    const owner = String(args[0])
    const [limit, lease, patience] = args.slice(1).map(Number) as [number, number, number]
    const places = new Map([...placesOf(database, key!)].filter(([, until]) => until > now))
    keepPlaces(database, key!, places, now)
    if (!places.has(owner)) {
      const before = patience > 0 ? enqueue(database, queue!, owner, patience, now) : 0
      if (places.size + before >= limit) {
        const first = Math.min(...places.values())
        return [0, places.size > 0 ? first - now : patience > 0 ? patience : lease]
      }
      if (patience > 0) leaveQueue(database, queue!, owner, now)
    }
    places.set(owner, now + lease)
    keepPlaces(database, key!, places, now)
    return [1, places.size]
  },
})
