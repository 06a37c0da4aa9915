import { turnpike } from 'turnpike/express'
import { ENOUGH, expressApp } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'turnpike, 1 window, leased'
export default ({ url }) => {
  const tp = turnpike({ redis: url })
  return expressApp(tp.rateLimit({ limit: ENOUGH, window: '1m', lease: true }))
}
