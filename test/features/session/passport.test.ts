/** passport-local logs in and out over `tp.session()` and over `tp.sessionStore()`. */
import express from 'express'
import express4 from 'express4'
import expressSession from 'express-session'
import { Passport } from 'passport'
import { Strategy } from 'passport-local'
import { describe, expect, test } from 'vitest'
import { turnpike } from '../../../src/express.ts'
import { bothEngines } from '../../support/engines.ts'
import request from 'supertest'
import { browser, SECRET } from './support.ts'

const engines = bothEngines()
const frameworks = [
  ['Express 5', express],
  ['Express 4', express4],
] as const
const mounts = [
  ['tp.session()', (tp: any) => tp.session({ secret: SECRET, name: 'sid' })],
  [
    'tp.sessionStore()',
    (tp: any) =>
      expressSession({
        secret: SECRET,
        name: 'sid',
        resave: false,
        saveUninitialized: false,
        store: tp.sessionStore(),
      }),
  ],
] as const

describe.each(engines)('on the $name engine', ({ open }) => {
  describe.each(frameworks)('%s', (_name, framework) => {
    test.each(mounts)('passport-local over %s', async (_mount, mount) => {
      const { store, prefix } = open()
      const tp = turnpike({ store, prefix, requestBudget: '10s' })
      const passport = new Passport()
      passport.use(
        new Strategy((username, password, done) =>
          done(null, password === 'right' ? { id: 7, username } : false),
        ),
      )
      passport.serializeUser((user: any, done) => done(null, user.id))
      passport.deserializeUser((id: number, done) => done(null, { id, username: 'ada' } as any))
      const app = framework()
      app.use(mount(tp), passport.initialize(), passport.session())
      app.get(
        '/login',
        (req: any, _res, next) => {
          req.body = { username: 'ada', password: req.query.password }
          next()
        },
        passport.authenticate('local'),
        (req: any, res) => res.json({ id: req.user.id }),
      )
      app.get('/logout', (req: any, res, next) =>
        req.logout((error: unknown) => (error ? next(error) : res.json({}))),
      )
      app.get('/me', (req: any, res) =>
        res.json({
          user: req.user?.username ?? null,
          id: req.sessionID,
          visits: (req.session.visits = (req.session.visits ?? 0) + 1),
        }),
      )
      app.get('/private', tp.session.require(), (_req, res) => res.json({}))

      const someone = browser({
        get: (path = '/', headers = {}) => request(app).get(path).set(headers),
      })
      const before = await someone.json('/me')
      expect(before).toMatchObject({ user: null, visits: 1 })
      expect((await someone.get('/private')).status).toBe(401)
      expect((await someone.get('/login?password=wrong')).status).toBe(401)
      expect(await someone.json('/login?password=right')).toEqual({ id: 7 })
      const after = await someone.json('/me')
      expect(after).toMatchObject({ user: 'ada', visits: 1 })
      expect(after.id).not.toBe(before.id)
      expect((await someone.get('/private')).status).toBe(200)
      await someone.get('/logout')
      const out = await someone.json('/me')
      expect(out.user).toBeNull()
      expect(out.id).not.toBe(after.id)
    })
  })
})
