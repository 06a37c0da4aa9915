import apicache from 'apicache'
import { Redis } from 'ioredis'
import { expressApp } from '../apps.mjs'

export const group = 'Express 5, cached'
export const title = 'apicache, hit in Redis'
export default ({ url }) => {
  // It asks node_redis 3 whether it is connected; ioredis takes its commands and callbacks as they are.
  const redisClient = Object.assign(new Redis(url), { connected: true })
  return expressApp(apicache.newInstance({ redisClient }).middleware('1 hour'))
}
