import { turnpike } from 'turnpike/express'
import { expressApp } from '../apps.mjs'

export const group = 'idempotency'
export const title = 'turnpike, the same key each time'
export default ({ url }) => {
  const tp = turnpike({ redis: url, deadline: '1s', budget: '1s' })
  const sameKey = (req, _res, next) => {
    req.headers['idempotency-key'] = 'same'
    next()
  }
  return expressApp(sameKey, tp.idempotency({ scope: () => 'bench', methods: ['GET'], wait: '5s' }))
}
