import { expressApp } from '../apps.mjs'

export const group = 'Express 5'
export const title = 'Express 5, bare'
export default () => expressApp()
