import apicache from 'apicache'
import { expressApp } from '../apps.mjs'

export const group = 'Express 5, cached'
export const title = 'apicache, hit in the process'
export default () => expressApp(apicache.newInstance({}).middleware('1 hour'))
