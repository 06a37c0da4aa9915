import { expressApp } from '../apps.mjs'

export const group = 'Express 5, cached'
export const title = 'Express 5, res.json without a cache'
export default () => expressApp()
