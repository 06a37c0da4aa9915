import { turnpike } from 'turnpike/express'
import { expressApp } from '../apps.mjs'

export const group = 'Express 5, locks'
export const title = 'turnpike, a lock of its own for each request'
export default ({ url }) => {
  const tp = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' })
  let count = 0
  return expressApp((req, res, next) => tp.lock(`bench:${++count}`, {}, () => next()))
}
