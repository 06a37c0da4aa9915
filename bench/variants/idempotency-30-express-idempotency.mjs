import { expressApp, freshKey } from '../apps.mjs'
import { expressPeers } from '../peers.mjs'

export const group = 'idempotency'
export const title = 'express-idempotency, a new key each time'
export default ({ url }) => expressApp(freshKey(), expressPeers(url).idempotency())
