import { Redis } from 'ioredis'
import ratelimit from 'koa-ratelimit'
import { ENOUGH, koaApp } from '../apps.mjs'

export const group = 'Koa 3'
export const title = 'koa-ratelimit, 1 window'
export default ({ url }) =>
  koaApp(ratelimit({ driver: 'redis', db: new Redis(url), duration: 60_000, max: ENOUGH }))
