import { koaApp } from '../apps.mjs'

export const group = 'Koa 3'
export const title = 'Koa 3, bare'
export default () => koaApp()
