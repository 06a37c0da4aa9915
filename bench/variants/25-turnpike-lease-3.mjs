import { turnpike } from 'turnpike/express'
import { ENOUGH, expressApp, WINDOWS } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'turnpike, 3 windows, leased'
export default ({ url }) => {
  const tp = turnpike({ redis: url })
  const policies = Object.keys(WINDOWS).map((window) => ({ limit: ENOUGH, window }))
  return expressApp(tp.rateLimit({ policies, lease: true }))
}
