import { turnpike } from 'turnpike/express'
import { expressApp } from '../apps.mjs'

export const group = 'Express 5, cached'
export const title = 'turnpike, cache hit before the framework'
export default ({ url }) => {
  const tp = turnpike({ redis: url })
  return tp.cacheListener(
    expressApp(tp.cache({ ttl: '1h', near: true, public: true, beforeFramework: true })),
  )
}
