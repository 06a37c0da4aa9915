import { turnpike } from 'turnpike/koa'
import { ENOUGH, koaApp } from '../apps.mjs'

export const group = 'Koa 3'
export const title = 'Koa 3: turnpike, 1 window'
export default ({ url }) => {
  const tp = turnpike({ redis: url })
  return koaApp(tp.rateLimit({ limit: ENOUGH, window: '1m' }))
}
