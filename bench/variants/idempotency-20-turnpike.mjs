import { turnpike } from 'turnpike/express'
import { expressApp, freshKey } from '../apps.mjs'

export const group = 'idempotency'
export const title = 'turnpike, a new key each time'
export default ({ url }) => {
  const tp = turnpike({ redis: url, deadline: '1s', budget: '1s' })
  return expressApp(freshKey(), tp.idempotency({ scope: () => 'bench', methods: ['GET'] }))
}
