import { expressApp } from '../apps.mjs'

export const group = 'idempotency'
export const title = 'bare Express 5'
export default () => expressApp()
