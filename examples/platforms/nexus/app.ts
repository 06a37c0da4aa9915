/** Nexus, a market for creators and campaigns: what its Redis document describes, section by section, on Koa. */
import { Router } from '@koa/router'
import { randomBytes } from 'node:crypto'
import Koa, { type Context } from 'koa'
import { flags } from 'turnpike/flags'
import { turnpike, type TurnpikeOptions } from 'turnpike/koa'
// Types of ctx.session.
import 'turnpike/koa/session'
import { channels, inbox, presence, sse } from 'turnpike/realtime'
import { oneTimeTokens, refreshTokens } from 'turnpike/tokens'
import { bodyOf, readJson } from '../koa-json.ts'
import { campaigns } from './campaigns.ts'
import { work } from './work.ts'

declare global {
  interface TurnpikeSessionData {
    userId: string
    organisation: string
  }
}

export interface AppOptions extends TurnpikeOptions<Context> {
  /** Sends a mail. */
  mail?: (to: string, text: string) => void
}

const userOf = (ctx: Context): string => String(ctx.session.userId)

export function createApp({ mail = console.log, ...options }: AppOptions = {}) {
  const tp = turnpike({ prefix: 'nexus', ...options })
  const app = new Koa()
  const router = new Router()
  const live = channels(tp)

  // Health and metrics are there while Redis is away.
  app.use(tp.health({ path: '/health' }))

  // 1. Sessions of 24 hours, and the index of a user's sessions, without dead ones.
  app.use(tp.session({ secret: 'only for development, 32 characters', ttl: '24h' }))
  app.use(readJson)
  const online = presence(live, { ttl: '5m', user: (ctx) => ctx.session?.userId })
  app.use(online)

  // 3. Limits of users, of addresses by endpoint, of organisations.
  app.use(tp.rateLimit({ name: 'api', limit: 60, window: '1m', key: tp.key.user() }))
  const perAddress = tp.rateLimit({
    name: 'address',
    limit: 20,
    window: '1m',
    key: tp.key.all(tp.key.ip(), tp.key.route()),
  })
  const perOrganisation = tp.rateLimit({
    name: 'organisation',
    limit: 1000,
    window: '1h',
    key: (ctx) => ctx.session.organisation,
  })
  // Failed logins of an e-mail address and of an address, refused before the password is looked at.
  const guard = tp.loginGuard({ limit: 5, window: '15m', key: (ctx) => bodyOf(ctx)['email'] })

  const refresh = refreshTokens(tp, { ttl: '7d' })
  router.post('/login', perAddress, guard, async (ctx) => {
    const { email, password, organisation = 'acme' } = bodyOf(ctx)
    if (password !== 'correct') ctx.throw(401)
    await tp.session.login(ctx, email, { organisation })
    ctx.body = { refresh: (await refresh.issue(email)).token }
  })
  router.post('/refresh', async (ctx) => {
    const { token, user } = await refresh.rotate(String(bodyOf(ctx)['refresh']))
    ctx.body = { refresh: token, user }
  })
  router.get('/sessions', tp.session.require(), async (ctx) => {
    ctx.body = await tp.sessions.list(userOf(ctx))
  })
  router.get('/online', tp.session.require(), async (ctx) => {
    ctx.body = (await online.online()).users
  })

  // 4. Notifications of a user, updates of a campaign, announcements to all.
  const notifications = inbox(live, { ttl: '7d' })
  app.use(notifications.router({ path: '/notifications' }))
  router.get(
    '/stream/:campaign',
    tp.session.require(),
    sse(live, { topics: (ctx) => [`campaign:${(ctx as any).params.campaign}`, 'system'] }),
  )

  // 7. Feature flags, for organisations too.
  const feature = flags(tp, {
    defaults: { newDashboard: false, layout: { columns: 2 } },
    user: (ctx) => ctx.session?.userId,
    organisation: (ctx) => ctx.session?.organisation,
  })
  app.use(feature)
  router.get('/features', (ctx) => {
    const own = feature.of(ctx)
    ctx.body = { newDashboard: own.enabled('newDashboard'), layout: own.value('layout') }
  })

  // 9. Codes and links, stored as hashes, with few attempts.
  const pepper = process.env['TOKEN_PEPPER'] ?? randomBytes(32).toString('hex')
  const verify = oneTimeTokens(tp, { purpose: 'verify', format: 'letters:8', ttl: '15m', pepper })
  const reset = oneTimeTokens(tp, { purpose: 'reset', ttl: '1h' })
  const mfa = oneTimeTokens(tp, { purpose: 'mfa', format: 'digits:6', ttl: '10m', pepper })
  const kinds = { verify, reset, mfa }
  router.post('/codes/:kind', perAddress, async (ctx) => {
    const { email } = bodyOf(ctx)
    const issued = await kindOf(ctx).issue(email, { address: ctx.ip })
    if (issued.sent) mail(email, issued.code)
    ctx.status = 202
  })
  router.post('/codes/:kind/use', async (ctx) => {
    const { email, code } = bodyOf(ctx)
    const used = await kindOf(ctx).consume(email ?? null, code)
    // A new password ends all sessions.
    if (ctx['params'].kind === 'reset') await tp.sessions.revokeAll(String(used.subject))
    ctx.body = { subject: used.subject }
  })
  const kindOf = (ctx: Context) => {
    const kind = kinds[ctx['params'].kind as keyof typeof kinds]
    return kind ?? ctx.throw(404)
  }

  const context = { tp, live, notifications, router, perOrganisation }
  const { status, ...jobs } = work(context)
  const parts = campaigns(context)
  app.use(status)
  app.use(router.routes())
  return { app, tp, live, feature, ...jobs, ...parts }
}
