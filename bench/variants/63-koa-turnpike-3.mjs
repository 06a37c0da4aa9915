import { turnpike } from 'turnpike/koa'
import { ENOUGH, koaApp, WINDOWS } from '../apps.mjs'

export const group = 'Koa 3'
export const title = 'Koa 3: turnpike, 3 windows'
export default ({ url }) => {
  const tp = turnpike({ redis: url })
  const policies = Object.keys(WINDOWS).map((window) => ({ limit: ENOUGH, window }))
  return koaApp(tp.rateLimit({ policies }))
}
