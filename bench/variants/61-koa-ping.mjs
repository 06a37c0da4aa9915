import { Redis } from 'ioredis'
import { koaApp } from '../apps.mjs'

export const group = 'Koa 3'
export const title = 'Koa 3 + one PING'
export default ({ url }) => {
  const redis = new Redis(url)
  return koaApp(async (ctx, next) => {
    await redis.ping()
    await next()
  })
}
