import { operation, type Operation } from '../../store/store.ts'
import lua from './count.lua'
import { placesOf } from './places.ts'

/** Counts the places that are taken. Key: the places. */
export const count: Operation<number> = operation({
  name: 'semaphore.count',
  lua,
  memory: (database, [key], _args, now) =>
    [...placesOf(database, key!).values()].filter((until) => until > now).length,
})
