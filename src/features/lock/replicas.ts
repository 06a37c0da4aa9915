import { operation, type Operation } from '../../store/store.ts'

/** Waits until replicas have what was written on this connection. Arguments: how many, ms. Replies how many have it. */
export const replicas: Operation<number> = operation({
  name: 'lock.replicas',
  command: 'WAIT',
  // One process has nothing to fail over to.
  memory: (_database, _keys, [count]) => Number(count),
})
