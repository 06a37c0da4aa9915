/** Express applications with the packages that most of them have. */
import { createRequire } from 'node:module'
import compression from 'compression'
import flash from 'connect-flash'
import cookieParser from 'cookie-parser'
import cookieSession from 'cookie-session'
import cors from 'cors'
import { doubleCsrf } from 'csrf-csrf'
import { createHandler } from 'graphql-http/lib/use/express'
import helmet from 'helmet'
import { createProxyMiddleware } from 'http-proxy-middleware'
import multer from 'multer'
import { turnpike } from 'turnpike/express'
import { describe, expect, it } from 'vitest'
import { clientOf, cookiesOf, expresses, open, SECRET, serve, useRedis } from './support.mjs'

// graphql-http requires it; an import would be a second copy here.
const { buildSchema } = createRequire(import.meta.url)('graphql')

const redis = useRedis()

describe.each(expresses)('%s', (_name, express) => {
  describe('with helmet, cors, compression and cookie-parser', () => {
    async function createApp() {
      const tp = await open(turnpike, redis)
      const app = express()
      let made = 0
      app.use(helmet())
      app.use(cors({ origin: [/\.example\.com$/], credentials: true }))
      app.use(compression({ threshold: 0 }))
      app.use(cookieParser())
      app.use(tp.rateLimit({ limit: 100, window: '1m' }))
      app.get('/page', tp.cache({ ttl: '1m' }), (_req, res) => {
        made++
        res.type('text').send('all work and no play '.repeat(200))
      })
      app.get('/cookies', (req, res) => void res.json(req.cookies))
      return { client: await clientOf(app), made: () => made }
    }

    it('a hit is what the miss was: compressed, secured, for each origin', async () => {
      const { client, made } = await createApp()
      const get = (origin) =>
        client.get('/page').set('Origin', origin).set('Accept-Encoding', 'gzip')
      const miss = await get('https://a.example.com').expect(200)
      const hit = await get('https://b.example.com').expect(200)
      expect(made()).toBe(1)
      expect(hit.text).toBe('all work and no play '.repeat(200))
      expect(hit.text).toBe(miss.text)
      expect(miss.headers['cache-status']).toContain('stored')
      expect(hit.headers['cache-status']).toContain('hit')
      for (const answer of [miss, hit]) {
        expect(answer.headers['content-encoding']).toBe('gzip')
        expect(answer.headers['x-content-type-options']).toBe('nosniff')
        expect(answer.headers.ratelimit).toMatch(/;r=9\d;/)
        expect(answer.headers.vary.toLowerCase()).toContain('accept-encoding')
      }
      expect(miss.headers['access-control-allow-origin']).toBe('https://a.example.com')
      expect(hit.headers['access-control-allow-origin']).toBe('https://b.example.com')
    })

    it('a client without gzip gets the same page plain', async () => {
      const { client, made } = await createApp()
      await client.get('/page').set('Accept-Encoding', 'gzip').expect(200)
      const plain = await client.get('/page').set('Accept-Encoding', 'identity').expect(200)
      expect(plain.headers['content-encoding']).toBeUndefined()
      expect(plain.text).toBe('all work and no play '.repeat(200))
      expect(made()).toBe(1)
    })

    it('a preflight is answered, and cookies are parsed', async () => {
      const { client } = await createApp()
      await client
        .options('/page')
        .set('Origin', 'https://a.example.com')
        .set('Access-Control-Request-Method', 'GET')
        .expect(204)
        .expect('access-control-allow-origin', 'https://a.example.com')
      await client.get('/cookies').set('Cookie', 'a=1; b=2').expect({ a: '1', b: '2' })
    })
  })

  describe('with csrf-csrf over tp.session()', () => {
    it('a form with its token passes, one without does not', async () => {
      const tp = await open(turnpike, redis)
      const { generateCsrfToken, doubleCsrfProtection } = doubleCsrf({
        getSecret: () => SECRET,
        getSessionIdentifier: (req) => req.session.id,
        cookieName: 'csrf',
        cookieOptions: { secure: false },
        errorConfig: { statusCode: 403 },
      })
      const app = express()
      app.use(cookieParser())
      app.use(tp.session({ secret: SECRET }))
      app.get('/form', (req, res) => {
        req.session.visited = true
        res.json({ token: generateCsrfToken(req, res) })
      })
      app.post('/form', doubleCsrfProtection, (req, res) => void res.json(req.session.visited))
      app.use((error, _req, res, _next) => void res.status(error.statusCode ?? 500).end())

      const client = await clientOf(app)
      const form = await client.get('/form').expect(200)
      const post = () => client.post('/form').set('Cookie', cookiesOf(form))
      await post().set('x-csrf-token', form.body.token).expect(200, 'true')
      await post().expect(403)
      await client.post('/form').set('x-csrf-token', form.body.token).expect(403)
    })
  })

  describe('with connect-flash over tp.session()', () => {
    it('a message is shown once, after the redirect', async () => {
      const tp = await open(turnpike, redis)
      const app = express()
      app.use(tp.session({ secret: SECRET }))
      app.use(flash())
      app.post('/save', (req, res) => {
        req.flash('info', 'saved')
        res.redirect('/')
      })
      app.get('/', (req, res) => void res.json(req.flash('info')))
      const client = await clientOf(app)
      const saved = await client.post('/save').expect(302)
      const get = () => client.get('/').set('Cookie', cookiesOf(saved))
      await get().expect(['saved'])
      await get().expect([])
    })
  })

  describe('with multer', () => {
    it('a repeated upload is stored once, and another file is another request', async () => {
      const tp = await open(turnpike, redis)
      const upload = multer({ storage: multer.memoryStorage() })
      const app = express()
      const stored = []
      app.use(tp.rateLimit({ limit: 100, window: '1m' }))
      app.post('/files', tp.idempotency(), upload.single('file'), (req, res) => {
        stored.push(`${req.file.originalname}: ${req.file.buffer} (${req.body.title})`)
        res.status(201).json({ number: stored.length })
      })
      const client = await clientOf(app)
      const send = (text) =>
        client
          .post('/files')
          .set('Idempotency-Key', '"upload-1"')
          .field('title', 'notes')
          .attach('file', Buffer.from(text), 'notes.txt')
      await send('hello').expect(201, { number: 1 })
      const again = await send('hello').expect(201, { number: 1 })
      expect(again.headers['idempotency-replayed']).toBe('true')
      expect(stored).toEqual(['notes.txt: hello (notes)'])
      await send('other').expect(422)
    })

    it('an upload too large is refused by multer, and may be repeated', async () => {
      const tp = await open(turnpike, redis)
      const upload = multer({ storage: multer.memoryStorage(), limits: { fileSize: 4 } })
      const app = express()
      app.post(
        '/files',
        tp.idempotency(),
        upload.single('file'),
        (_req, res) => void res.sendStatus(201),
      )
      app.use((error, _req, res, _next) => void res.status(413).json({ code: error.code }))
      const client = await clientOf(app)
      const send = () =>
        client
          .post('/files')
          .set('Idempotency-Key', '"large"')
          .attach('file', Buffer.from('too large'), 'a.txt')
      await send().expect(413, { code: 'LIMIT_FILE_SIZE' })
      await send().expect(413, { code: 'LIMIT_FILE_SIZE' })
    })
  })

  describe('with http-proxy-middleware', () => {
    async function createProxy() {
      let seen = 0
      const upstream = express()
      upstream.get('/api/list', (_req, res) => {
        seen++
        res.set('X-Upstream', 'yes').json({ seen })
      })
      upstream.post('/api/orders', express.json(), (req, res) => {
        seen++
        res.status(201).json({ seen, body: req.body })
      })
      const target = await serve(upstream)
      const tp = await open(turnpike, redis)
      const app = express()
      const proxy = createProxyMiddleware({ target, pathFilter: '/api' })
      app.use(tp.rateLimit({ limit: 4, window: '1m' }))
      app.get('/api/list', tp.cache({ ttl: '1m' }), proxy)
      app.post('/api/orders', tp.idempotency(), proxy)
      return { client: await clientOf(app), seen: () => seen }
    }

    it('a proxied response is cached, and limits count', async () => {
      const { client, seen } = await createProxy()
      await client.get('/api/list').expect(200, { seen: 1 }).expect('x-upstream', 'yes')
      const hit = await client.get('/api/list').expect(200, { seen: 1 })
      expect(hit.headers['x-upstream']).toBe('yes')
      expect(hit.headers['cache-status']).toContain('hit')
      expect(seen()).toBe(1)
      await client.get('/api/list').expect(200)
      await client.get('/api/list').expect(200)
      await client.get('/api/list').expect(429)
    })

    it('a body passes through to the upstream, and a repeated order reaches it once', async () => {
      const { client, seen } = await createProxy()
      const order = () =>
        client.post('/api/orders').set('Idempotency-Key', '"o1"').send({ item: 'compass' })
      const wanted = { seen: 1, body: { item: 'compass' } }
      await order().expect(201, wanted)
      await order().expect(201, wanted)
      expect(seen()).toBe(1)
    })
  })

  describe('with graphql-http', () => {
    it('queries are limited by cost, and a repeated mutation has one effect', async () => {
      const tp = await open(turnpike, redis)
      let orders = 0
      const schema = buildSchema(
        'type Query { hello: String } type Mutation { order(item: String!): Int }',
      )
      const rootValue = { hello: () => 'world', order: () => ++orders }
      const app = express()
      app.use(
        tp.rateLimit({ limit: 5, window: '1m', cost: (req) => Number(req.get('x-cost') ?? 1) }),
      )
      app.all('/graphql', tp.idempotency(), createHandler({ schema, rootValue }))
      const client = await clientOf(app)
      const send = (query) => client.post('/graphql').send({ query })
      await send('{ hello }').expect(200, { data: { hello: 'world' } })
      const mutation = () =>
        send('mutation { order(item: "compass") }').set('Idempotency-Key', '"m1"')
      await mutation().expect(200, { data: { order: 1 } })
      await mutation().expect(200, { data: { order: 1 } })
      expect(orders).toBe(1)
      await send('{ hello }').set('x-cost', '3').expect(429)
      await send('{ hello }').set('x-cost', '2').expect(200)
    })
  })

  describe('with cookie-session beside turnpike', () => {
    async function createApp() {
      const tp = await open(turnpike, redis)
      const app = express()
      app.use(cookieSession({ name: 'own', keys: ['key'] }))
      app.get('/login/:user', (req, res) => {
        req.session.userId = req.params.user
        res.end()
      })
      app.use(tp.rateLimit({ limit: 2, window: '1m', key: tp.key.user() }))
      app.get('/page', tp.cache({ ttl: '1m' }), (req, res) => {
        res.send(`for ${req.session.userId ?? 'everybody'}`)
      })
      return clientOf(app)
    }

    it('its sessions tell users apart, and their pages are not shared', async () => {
      const client = await createApp()
      const [ann, bob] = await Promise.all(
        ['ann', 'bob'].map((user) => client.get(`/login/${user}`)),
      )
      const get = (login) =>
        login ? client.get('/page').set('Cookie', cookiesOf(login)) : client.get('/page')
      await get().expect('for everybody')
      await get(ann).expect('for ann')
      await get(bob).expect('for bob')
      await get(ann).expect('for ann')
      await get(ann).expect(429)
      await get(bob).expect(200)
    })
  })
})
