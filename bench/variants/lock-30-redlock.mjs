import { Redis } from 'ioredis'
import Redlock from 'redlock'
import { expressApp } from '../apps.mjs'

export const group = 'Express 5, locks'
export const title = 'redlock, a lock of its own for each request'
export default ({ url }) => {
  const redlock = new Redlock([new Redis(url)])
  let count = 0
  return expressApp((req, res, next) =>
    redlock.using([`bench:${++count}`], 30_000, () => Promise.resolve(next())),
  )
}
