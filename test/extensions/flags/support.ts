import type { Store } from '../../../src/store/store.ts'

/** The same store, as a process sees it to which no message comes. */
export const withoutMessages = (store: Store): any =>
  new Proxy(store, {
    get(target, name) {
      if (name === 'subscribe') return () => () => {}
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
