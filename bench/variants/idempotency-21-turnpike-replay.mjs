import { turnpike } from 'turnpike/express'
import { orderApp } from '../apps.mjs'

export const group = 'idempotency'
export const method = 'POST'
export const title = 'turnpike, the same key each time'
export default ({ url }) => {
  const tp = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' })
  const sameKey = (req, _res, next) => {
    req.headers['idempotency-key'] = 'same'
    next()
  }
  return orderApp(sameKey, tp.idempotency({ scope: () => 'bench', wait: '5s' }))
}
