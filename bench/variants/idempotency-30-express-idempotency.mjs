import { orderApp } from '../apps.mjs'
import { expressPeers } from '../peers.mjs'

export const group = 'idempotency'
export const method = 'POST'
export const title = 'express-idempotency, a new key each time'
export default ({ url }) => orderApp(expressPeers(url).idempotency())
