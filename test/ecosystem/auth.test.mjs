/** Express applications whose users are known by passport, JWT or OpenID Connect. */
import { expressjwt } from 'express-jwt'
import jwt from 'jsonwebtoken'
import passport from 'passport'
import { ExtractJwt, Strategy as JwtStrategy } from 'passport-jwt'
import { Strategy as LocalStrategy } from 'passport-local'
import { turnpike } from 'turnpike/express'
import { describe, expect, it } from 'vitest'
import { clientOf, cookiesOf, expresses, open, SECRET, useRedis } from './support.mjs'

const redis = useRedis()
const users = { ann: 'correct horse', bob: 'battery staple' }
const token = (user) => jwt.sign({ sub: user }, SECRET)
const bearer = (user) => `Bearer ${token(user)}`

describe.each(expresses)('%s', (_name, express) => {
  describe('with passport-local over tp.session()', () => {
    async function createClient() {
      const tp = await open(turnpike, redis)
      const auth = new passport.Passport()
      auth.use(
        new LocalStrategy((name, password, done) =>
          done(null, users[name] === password ? { id: name } : false),
        ),
      )
      auth.serializeUser((user, done) => done(null, user.id))
      auth.deserializeUser((id, done) => done(null, { id }))
      const app = express()
      const guard = tp.loginGuard({ limit: 3, window: '15m', key: (req) => req.body?.username })
      app.use(tp.session({ secret: SECRET, user: (req) => req.user?.id }))
      app.use(auth.initialize())
      app.use(auth.session())
      app.get('/visit', (req, res) => {
        req.session.visited = true
        res.end()
      })
      app.post(
        '/login',
        express.urlencoded({ extended: false }),
        guard,
        auth.authenticate('local'),
        (req, res) => void res.json(req.user),
      )
      app.get('/me', tp.cache({ ttl: '1m' }), (req, res) => void res.json(req.user ?? null))
      app.post('/logout', (req, res, next) => {
        req.logout((error) => (error ? next(error) : res.sendStatus(204)))
      })
      return { tp, client: await clientOf(app) }
    }
    const login = (client, username, password, cookie = '') =>
      client.post('/login').set('Cookie', cookie).type('form').send({ username, password })

    it('a login gives another session, and a logout ends it', async () => {
      const { client } = await createClient()
      const before = cookiesOf(await client.get('/visit'))
      const after = cookiesOf(await login(client, 'ann', users.ann, before).expect(200))
      expect(after).not.toBe('')
      expect(after).not.toBe(before)
      await client.get('/me').set('Cookie', after).expect({ id: 'ann' })
      await client.get('/me').set('Cookie', before).expect(200, 'null')
      await client.post('/logout').set('Cookie', after).expect(204)
      await client.get('/me').set('Cookie', after).expect(200, 'null')
    })

    it("a cached route does not show a user another user's page", async () => {
      const { client } = await createClient()
      const [ann, bob] = await Promise.all(
        Object.entries(users).map(async ([name, password]) =>
          cookiesOf(await login(client, name, password)),
        ),
      )
      await client.get('/me').set('Cookie', ann).expect({ id: 'ann' })
      await client.get('/me').set('Cookie', bob).expect({ id: 'bob' })
      await client.get('/me').expect(200, 'null')
      await client.get('/me').set('Cookie', ann).expect({ id: 'ann' })
    })

    it('guessing is refused, and a right password is not', async () => {
      const { client } = await createClient()
      for (let i = 0; i < 3; i++) await login(client, 'ann', 'guess').expect(401)
      await login(client, 'ann', 'guess').expect(429)
      await login(client, 'bob', users.bob).expect(200)
    })

    it("a user's sessions are listed and revoked", async () => {
      const { client, tp } = await createClient()
      const phone = cookiesOf(await login(client, 'ann', users.ann))
      const laptop = cookiesOf(await login(client, 'ann', users.ann))
      expect(await tp.sessions.list('ann')).toHaveLength(2)
      await tp.sessions.revokeAll('ann')
      for (const cookie of [phone, laptop])
        await client.get('/me').set('Cookie', cookie).expect(200, 'null')
    })
  })

  /** An application behind a middleware that knows the user: limited by user, with a cached page. */
  async function createApi(authenticate, userOf) {
    const tp = await open(turnpike, redis)
    const app = express()
    app.use(authenticate)
    app.use(tp.rateLimit({ limit: 3, window: '1m', key: tp.key.user(userOf) }))
    app.get('/page', tp.cache({ ttl: '1m' }), (req, res) => void res.send(`for ${userOf(req)}`))
    app.use((error, _req, res, _next) => void res.status(error.status ?? 500).end())
    return clientOf(app)
  }

  async function expectPrivacy(client, as) {
    await as(client.get('/page'), 'ann').expect(200, 'for ann')
    await as(client.get('/page'), 'bob').expect(200, 'for bob')
    await as(client.get('/page'), 'ann').expect(200, 'for ann')
    await as(client.get('/page'), 'ann').expect(200, 'for ann')
    await as(client.get('/page'), 'ann').expect(429)
    await as(client.get('/page'), 'bob').expect(200, 'for bob')
  }

  it('with passport-jwt, limits and pages belong to the user', async () => {
    const auth = new passport.Passport()
    const options = {
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      secretOrKey: SECRET,
    }
    auth.use(new JwtStrategy(options, ({ sub }, done) => done(null, { id: sub })))
    const client = await createApi(
      auth.authenticate('jwt', { session: false }),
      (req) => req.user?.id,
    )
    await expectPrivacy(client, (test, user) => test.set('Authorization', bearer(user)))
    await client.get('/page').expect(401)
  })

  it('with express-jwt, limits and pages belong to the user, also with a token in a cookie', async () => {
    const authenticate = expressjwt({
      secret: SECRET,
      algorithms: ['HS256'],
      getToken: (req) => /token=([^;]+)/.exec(req.headers.cookie ?? '')?.[1],
    })
    const client = await createApi(authenticate, (req) => req.auth?.sub)
    await expectPrivacy(client, (test, user) => test.set('Cookie', `token=${token(user)}`))
    await client.get('/page').expect(401)
  })

  it("with express-openid-connect's shape, limits and pages belong to the user", async () => {
    const authenticate = (req, _res, next) => {
      const [, user] = /appSession=(\w+)/.exec(req.headers.cookie ?? '') ?? []
      req.oidc = { isAuthenticated: () => user !== undefined, user: user && { sub: user } }
      next()
    }
    const client = await createApi(authenticate, (req) => req.oidc.user?.sub)
    await expectPrivacy(client, (test, user) => test.set('Cookie', `appSession=${user}`))
  })
})
