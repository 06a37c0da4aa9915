import { expressPeers } from '../peers.mjs'
import { expressSessions } from '../sessions.mjs'

export const group = 'Express 5, sessions'
export const title = 'express-session + connect-redis 8, over ioredis'
export default ({ url }) => expressSessions(expressPeers(url).session())
