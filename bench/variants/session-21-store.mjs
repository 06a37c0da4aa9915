import expressSession from 'express-session'
import { turnpike } from 'turnpike/express'
import { expressSessions } from '../sessions.mjs'

export const group = 'Express 5, sessions'
export const title = 'express-session + tp.sessionStore()'
export default ({ url }) => {
  const store = turnpike({ redis: url, commandTimeout: '1s', requestBudget: '1s' }).sessionStore()
  return expressSessions(
    expressSession({ secret: 'bench', resave: false, saveUninitialized: false, store }),
  )
}
