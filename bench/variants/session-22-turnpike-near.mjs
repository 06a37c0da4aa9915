import { turnpike } from 'turnpike/express'
import { expressSessions } from '../sessions.mjs'

export const group = 'Express 5, sessions'
export const title = 'turnpike, read in the process'
export default ({ url }) => {
  const tp = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' })
  return expressSessions(tp.session({ secret: 'bench', near: '2s', cookie: { secure: false } }))
}
