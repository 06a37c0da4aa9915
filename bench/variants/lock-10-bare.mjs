import { expressApp } from '../apps.mjs'

export const group = 'Express 5, locks'
export const title = 'no lock'
export default () => expressApp()
