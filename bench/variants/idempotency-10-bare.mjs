import { orderApp } from '../apps.mjs'

export const group = 'idempotency'
export const method = 'POST'
export const title = 'POST with express.json()'
export default () => orderApp()
