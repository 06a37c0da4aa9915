import { expressApp } from '../apps.mjs'

export const group = 'Express 5, sessions'
export const title = 'no session'
export default () => expressApp()
