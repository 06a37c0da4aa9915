import { turnpike } from 'turnpike/express'
import { orderApp } from '../apps.mjs'

export const group = 'idempotency'
export const method = 'POST'
export const title = 'turnpike, a new key each time'
export default ({ url }) => {
  const tp = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' })
  return orderApp(tp.idempotency({ scope: () => 'bench' }))
}
