/** WebSockets: sessions and limits on the request that asks for the upgrade. */
import expressWs from 'express-ws'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { turnpike } from 'turnpike/express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import request from 'supertest'
import { cookiesOf, expresses, open, SECRET, serve, useRedis } from './support.mjs'

const redis = useRedis()

/** Opens a WebSocket. Resolves with its first message, or with the status that refused it. */
function connect(url, headers = {}) {
  const socket = new WebSocket(url.replace('http', 'ws'), { headers })
  onTestFinished(() => socket.terminate())
  return new Promise((resolve, reject) => {
    socket.once('message', (data) => resolve(data.toString()))
    socket.once('unexpected-response', (_req, res) => resolve(res.statusCode))
    socket.once('error', reject)
    socket.once('close', (code) => resolve(`closed ${code}`))
  })
}

describe.each(expresses)('%s', (_name, express) => {
  async function createApp() {
    const tp = await open(turnpike, redis)
    const app = express()
    const session = tp.session({ secret: SECRET })
    app.use(session)
    app.get('/login/:user', async (req, res) => {
      await tp.session.login(req, req.params.user)
      res.end()
    })
    return { app, session, tp }
  }
  const loginTo = async (origin, user) => cookiesOf(await request(origin).get(`/login/${user}`))

  it('ws: a session parser on upgrade tells who connects', async () => {
    const { app, session } = await createApp()
    const sockets = new WebSocketServer({ noServer: true })
    const origin = await serve(app, (server) => {
      server.on('upgrade', (req, socket, head) => {
        session(req, {}, (error) => {
          if (error !== undefined || !req.session.userId) {
            socket.end(`HTTP/1.1 ${error?.status ?? 401} No\r\n\r\n`)
            return
          }
          sockets.handleUpgrade(req, socket, head, (ws) => ws.send(`hello ${req.session.userId}`))
        })
      })
    })
    expect(await connect(origin, { cookie: await loginTo(origin, 'ann') })).toBe('hello ann')
    expect(await connect(origin)).toBe(401)
    // The server lives, and plain requests are served.
    expect((await request(origin).get('/login/bob')).status).toBe(200)
  })

  it('ws: a limit on upgrade calls back with its refusal, once', async () => {
    const { app, tp } = await createApp()
    const limit = tp.rateLimit({ limit: 2, window: '1m' })
    const sockets = new WebSocketServer({ noServer: true })
    const refused = []
    const origin = await serve(app, (server) => {
      server.on('upgrade', (req, socket, head) => {
        limit(req, {}, (error) => {
          if (error !== undefined) {
            refused.push([error.status, error.code])
            socket.end(`HTTP/1.1 ${error.status} Refused\r\n\r\n`)
            return
          }
          sockets.handleUpgrade(req, socket, head, (ws) => ws.send('welcome'))
        })
      })
    })
    const seen = []
    for (let i = 0; i < 4; i++) seen.push(await connect(origin))
    expect(seen).toEqual(['welcome', 'welcome', 429, 429])
    expect(refused).toEqual([
      [429, 'TP_LIMITED'],
      [429, 'TP_LIMITED'],
    ])
  })

  it('express-ws: a route for sockets has the session, and a limit closes them', async () => {
    const { app, tp } = await createApp()
    let server
    const origin = await serve(app, (made) => (server = made))
    expressWs(app, server)
    app.use('/chat', tp.rateLimit({ limit: 2, window: '1m' }))
    app.ws('/chat', (ws, req) => ws.send(`hello ${req.session.userId ?? 'stranger'}`))
    const url = `${origin}/chat`
    expect(await connect(url, { cookie: await loginTo(origin, 'ann') })).toBe('hello ann')
    expect(await connect(url)).toBe('hello stranger')
    expect(await connect(url)).toBe('closed 1005')
    expect((await request(origin).get('/login/bob')).status).toBe(200)
  })

  it('socket.io: sockets see the session, and what a request has changed in it', async () => {
    const { app, session } = await createApp()
    app.post('/cart/:item', (req, res) => {
      req.session.cart = [...(req.session.cart ?? []), req.params.item]
      res.end()
    })
    let sockets
    const origin = await serve(app, (server) => {
      sockets = new Server(server)
      sockets.engine.use(session)
      sockets.on('connection', (socket) => {
        const { session } = socket.request
        socket.use((_packet, next) => session.reload(next))
        socket.on('cart', (reply) => reply(session.userId, socket.request.session.cart ?? []))
      })
    })
    onTestFinished(() => sockets.close())
    const cookie = await loginTo(origin, 'ann')
    const client = io(origin, { extraHeaders: { cookie }, forceNew: true })
    onTestFinished(() => client.close())
    const cart = () => new Promise((resolve) => client.emit('cart', (...reply) => resolve(reply)))
    expect(await cart()).toEqual(['ann', []])
    await request(origin).post('/cart/compass').set('Cookie', cookie).expect(200)
    expect(await cart()).toEqual(['ann', ['compass']])
  })

  it('socket.io: a limit refuses handshakes with 429', async () => {
    const { app, tp } = await createApp()
    let sockets
    const origin = await serve(app, (server) => {
      sockets = new Server(server)
      sockets.engine.use(tp.rateLimit({ limit: 2, window: '1m' }))
    })
    onTestFinished(() => sockets.close())
    const url = `${origin}/socket.io/?EIO=4&transport`
    const seen = []
    for (let i = 0; i < 3; i++) seen.push((await request(`${url}=polling`).get('')).status)
    expect(seen).toEqual([200, 200, 429])
    expect(await connect(`${url}=websocket`)).toBe(429)
    expect((await request(origin).get('/login/bob')).status).toBe(200)
  })
})
