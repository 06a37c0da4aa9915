/**
 * Starts the demo as a user would, sends every request of the shop with a real HTTP client and
 * compares status, fields and body: over the in-process engine, then over a real Redis that is
 * killed and comes back, then as `--redis`. Exits with 1 on any difference.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual, promisify } from 'node:util'

const root = path.join(import.meta.dirname, '..')
const PASSWORD = 'a-password-that-must-not-show'
const PATIENCE = 60_000
const began = performance.now()
const running = new Set()
let checks = 0
let failures = 0

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Compares and prints the result. `wanted` is a value, a pattern, or a test of the value. */
function check(what, got, wanted) {
  const right =
    typeof wanted === 'function'
      ? wanted(got)
      : wanted instanceof RegExp
        ? wanted.test(String(got))
        : isDeepStrictEqual(got, wanted)
  checks++
  if (!right) failures++
  console.log(`${right ? '  ok  ' : '  NOT '} ${what}`)
  if (right) return
  const shown = (value) => (JSON.stringify(value) ?? 'undefined').slice(0, 2000)
  const expected = typeof wanted === 'function' || wanted instanceof RegExp ? wanted : shown(wanted)
  console.log(`       got    ${shown(got)}\n       wanted ${expected}`)
}

/** Start the demo on a free port and wait for its banner. */
async function start(args, env) {
  const child = spawn(process.execPath, [path.join(root, 'scripts/demo.mjs'), ...args], {
    cwd: root,
    env: { ...process.env, REDIS_URL: '', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const demo = { child, output: '', origin: '', ended: once(child, 'exit') }
  child.once('exit', () => running.delete(child))
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => (demo.output += data))
  const until = Date.now() + PATIENCE
  while (!demo.output.includes('Ctrl-C')) {
    if (child.exitCode !== null || Date.now() > until)
      throw new Error(`The demo did not start:\n${demo.output}`)
    await pause(20)
  }
  demo.origin = /http:\/\/127\.0\.0\.1:\d+/.exec(demo.output)[0]
  return demo
}

async function end({ child, ended }) {
  child.kill('SIGINT')
  const late = pause(5000, ['late'], { ref: false })
  const [code] = await Promise.race([ended, late])
  check('Ctrl-C ends it with 0', code, 0)
}

/** What was answered: status, fields and body, parsed if it is JSON. */
async function send(origin, target, { key, json, ...init } = {}) {
  const headers = {
    ...(key && { 'x-api-key': key }),
    ...(json && { 'content-type': 'application/json' }),
  }
  const before = performance.now()
  const answer = await fetch(origin + target, {
    headers,
    ...(json && { method: 'POST', body: JSON.stringify(json) }),
    signal: AbortSignal.timeout(5000),
    ...init,
  })
  const text = await answer.text()
  const type = answer.headers.get('content-type') ?? ''
  return {
    status: answer.status,
    field: (name) => answer.headers.get(name),
    body: type.includes('json') ? JSON.parse(text) : text,
    ms: performance.now() - before,
  }
}

/** The answers to the same request, sent `count` times in a row. */
async function repeat(count, ...request) {
  const answers = []
  for (let i = 0; i < count; i++) answers.push(await send(...request))
  return answers
}

const statuses = (answers) => answers.map(({ status }) => status)
const times = (count, value) => Array.from({ length: count }, () => value)
const between = (least, most) => (value) => Number(value) >= least && Number(value) <= most

function checkRefusal(what, answer, { policy, retryAfter }) {
  check(`${what}: problem+json`, answer.field('content-type'), 'application/problem+json')
  check(`${what}: Retry-After`, answer.field('retry-after'), retryAfter)
  const { type, title, status, 'violated-policies': violated } = answer.body
  check(
    `${what}: body`,
    { type, title, status, violated },
    {
      type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
      title: 'Too Many Requests',
      status: 429,
      violated: [policy],
    },
  )
}

const login = (password) => ({ json: { email: 'ada@example.com', password } })

/** Logs in from two devices and out again. Returns a cookie that is still valid. */
async function checkSessions(origin) {
  const enter = async (device) => {
    const headers = { 'content-type': 'application/json', 'user-agent': device }
    const answer = await send(origin, '/login', { ...login('correct horse'), headers })
    return { status: answer.status, set: answer.field('set-cookie') }
  }
  const me = (cookie, rest = '', init = {}) =>
    send(origin, `/me${rest}`, { headers: cookie, ...init })
  const cookieOf = ({ set }) => ({ cookie: set?.split(';', 1)[0] ?? '' })

  const entered = [await enter('laptop'), await enter('phone')]
  check('POST /login, twice: 200', statuses(entered), [200, 200])
  check('POST /login: Set-Cookie', entered[0].set, /^sid=[^;]+; Path=\/; HttpOnly; SameSite=Lax$/)
  const [here, there] = entered.map(cookieOf)

  const known = await me(here)
  check(
    'GET /me: 200, and no other cookie',
    [known.status, known.body, known.field('set-cookie')],
    [200, { user: 'ada@example.com' }, null],
  )
  const unknown = await me({})
  check(
    'GET /me, no cookie: 401',
    [unknown.status, unknown.field('content-type'), unknown.body.title],
    [401, 'application/problem+json', 'Unauthorized'],
  )
  const forged = await me({ cookie: `${here.cookie}x` })
  check('GET /me, a cookie that is signed badly: 401', forged.status, 401)

  const list = await me(here, '/sessions')
  check('GET /me/sessions: both', [list.status, list.body.length], [200, 2])
  check(
    'GET /me/sessions: the devices, and which is this one',
    list.body.map(({ ip, userAgent, current }) => [userAgent, ip, current]).toSorted(),
    [
      ['laptop', '127.0.0.1', true],
      ['phone', '127.0.0.1', false],
    ],
  )
  const ended = await me(here, '/sessions?except=current', { method: 'DELETE' })
  check('DELETE /me/sessions?except=current: one', [ended.status, ended.body], [200, { ended: 1 }])
  check('GET /me, elsewhere: 401', (await me(there)).status, 401)
  check('GET /me, here: 200', (await me(here)).status, 200)

  const out = await send(origin, '/logout', { method: 'POST', headers: here })
  check(
    'POST /logout: 200, and the cookie is removed',
    [out.status, out.field('set-cookie')],
    ([status, set]) => status === 200 && /^sid=;.*Expires=Thu, 01 Jan 1970/.test(set),
  )
  check('GET /me, logged out: 401', (await me(here)).status, 401)
  return cookieOf(await enter('laptop'))
}

async function checkLogin(origin) {
  const four = await repeat(4, origin, '/login', login('guess'))
  check('POST /login, wrong four times: 401', statuses(four), times(4, 401))
  check('POST /login, wrong: body', four[0].body, {
    title: 'Wrong e-mail or password',
    status: 401,
  })
  const right = await send(origin, '/login', login('correct horse'))
  check(
    'POST /login, right: 200',
    [right.status, right.body],
    [200, { welcome: 'ada@example.com' }],
  )
  const six = await repeat(6, origin, '/login', login('guess'))
  check('POST /login, wrong six times: cleared, so 401 five times, then 429', statuses(six), [
    ...times(5, 401),
    429,
  ])
  checkRefusal('POST /login, sixth', six[5], { policy: 'pair', retryAfter: between(20, 30) })
  const shut = await send(origin, '/login', login('correct horse'))
  check('POST /login, right but shut out: 429', shut.status, 429)
  const other = await send(origin, '/login', {
    json: { email: 'grace@example.com', password: 'guess' },
  })
  check('POST /login, another user: 401', other.status, 401)
  const none = await send(origin, '/login', { method: 'POST' })
  check('POST /login, nothing: 401', none.status, 401)
  const broken = await send(origin, '/login', { ...login(''), body: '{' })
  check(
    'POST /login, broken JSON: 400',
    [broken.status, broken.field('content-type')],
    [400, 'application/problem+json; charset=utf-8'],
  )
}

async function checkQuota(origin) {
  const free = await repeat(11, origin, '/api/quota', { key: 'free' })
  check('GET /api/quota, free: 200 ten times, then 429', statuses(free), [...times(10, 200), 429])
  check('GET /api/quota, free: body', free[0].body, { id: 'ada', plan: 'free', remaining: 9 })
  check(
    'GET /api/quota, free: RateLimit-Policy',
    free[0].field('ratelimit-policy'),
    '"free";q=10;w=60',
  )
  check(
    'GET /api/quota, free: RateLimit',
    free.map((each) => each.field('ratelimit')),
    (all) =>
      all.every((each, i) => new RegExp(`^"free";r=${Math.max(0, 9 - i)};t=(60|5\\d)$`).test(each)),
  )
  checkRefusal('GET /api/quota, free, eleventh', free[10], {
    policy: 'free',
    retryAfter: between(50, 60),
  })

  const pro = await repeat(20, origin, '/api/quota', { key: 'pro' })
  check('GET /api/quota, pro: a burst of 20', statuses(pro), times(20, 200))
  check(
    'GET /api/quota, pro: RateLimit-Policy',
    pro[0].field('ratelimit-policy'),
    '"pro";q=60;w=60',
  )
  check('GET /api/quota, pro: RateLimit', pro[0].field('ratelimit'), '"pro";r=19;t=1')
  // A slow machine earns a use or two during the burst.
  let refused = await send(origin, '/api/quota', { key: 'pro' })
  for (let i = 0; i < 10 && refused.status === 200; i++)
    refused = await send(origin, '/api/quota', { key: 'pro' })
  check('GET /api/quota, pro: then 429', refused.status, 429)
  checkRefusal('GET /api/quota, pro, after the burst', refused, { policy: 'pro', retryAfter: '1' })
  await pause(1000)
  check(
    'GET /api/quota, pro, at Retry-After: 200',
    (await send(origin, '/api/quota', { key: 'pro' })).status,
    200,
  )

  for (const key of ['gold', '__proto__', undefined]) {
    const unknown = await send(origin, '/api/quota', { key })
    check(
      `GET /api/quota, key ${key}: 401`,
      [unknown.status, unknown.body.title],
      [401, 'Unauthorized'],
    )
  }
}

async function checkRest(origin) {
  const products = await send(origin, '/products?page=1')
  check(
    'GET /products: 200',
    [products.status, products.body.page, products.body.products.length],
    [200, 1, 4],
  )
  check('GET /products: a database of 150 ms', products.ms, (ms) => ms >= 145)
  check(
    'GET /products: RateLimit',
    [products.field('ratelimit-policy'), products.field('ratelimit')],
    ['"products";q=30;w=60', '"products";r=29;t=60'],
  )
  check('GET /products?page=x: 400', (await send(origin, '/products?page=x')).status, 400)
  const again = await send(origin, '/products?page=1')
  check('GET /products, again: from the cache', again.field('cache-status'), /^turnpike; hit; ttl=/)
  check('GET /products, again: the same', again.body, products.body)
  const saved = await send(origin, '/products/1', { method: 'PUT', json: { price: 99 } })
  check('PUT /products/1: 200', [saved.status, saved.body.price], [200, 99])
  const after = await send(origin, '/products?page=1')
  check('GET /products, after the change: the new price', after.body.products[0].price, 99)
  const { asked } = (await send(origin, '/debug/origin')).body
  check('GET /debug/origin: the database was asked twice for it', asked, 2)

  const search = await send(origin, '/api/search?q=com')
  check('GET /api/search: body', search.body, { found: [{ id: 3, name: 'Compass', price: 26 }] })
  check(
    'GET /api/search: three policies',
    search.field('ratelimit-policy'),
    '"minute";q=20;w=60, "hour";q=100;w=3600, "day";q=500;w=86400',
  )
  check(
    'GET /api/search: three states',
    search.field('ratelimit'),
    '"minute";r=19;t=60, "hour";r=99;t=3600, "day";r=499;t=86400',
  )
  const sought = await send(origin, '/api/trending')
  check('GET /api/trending: what was sought', [sought.status, sought.body], [200, ['com']])
  const more = await repeat(20, origin, '/api/search?q=')
  check('GET /api/search: the minute refuses', statuses(more), [...times(19, 200), 429])
  check(
    'GET /api/search, refused: hour and day lose nothing',
    more[19].field('ratelimit'),
    /"hour";r=80;.*"day";r=480;/,
  )
  checkRefusal('GET /api/search, refused', more[19], {
    policy: 'minute',
    retryAfter: between(50, 60),
  })
}

async function checkOrders(origin) {
  const order = (key, item) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key && { 'idempotency-key': key }) },
    body: JSON.stringify({ item }),
  })
  const [first, second] = await repeat(2, origin, '/orders', order('smoke-1', 'Easel'))
  check('POST /orders: 201', [first.status, first.field('idempotency-replayed')], [201, null])
  check(
    'POST /orders, again: the same answer',
    [second.status, second.field('idempotency-replayed'), second.body],
    [201, 'true', first.body],
  )
  check(
    'POST /orders, the key for something else: 422',
    (await send(origin, '/orders', order('smoke-1', 'Funnel'))).status,
    422,
  )
  const missing = await send(origin, '/orders', order(undefined, 'Easel'))
  check(
    'POST /orders, no key: 400',
    [missing.status, missing.field('content-type')],
    [400, 'application/problem+json'],
  )
  const together = await Promise.all(
    times(5, order('smoke-2', 'Easel')).map((each) => send(origin, '/orders', each)),
  )
  check('POST /orders, five at once: one runs', statuses(together).toSorted(), [
    201,
    ...times(4, 409),
  ])
  const rebuilds = await Promise.all(
    times(3, { method: 'POST' }).map((each) => send(origin, '/inventory/rebuild', each)),
  )
  check(
    'POST /inventory/rebuild, three at once: one runs',
    statuses(rebuilds).toSorted(),
    [200, 423, 423],
  )
  check(
    'POST /inventory/rebuild, 423: Retry-After',
    rebuilds.find(({ status }) => status === 423)?.field('retry-after'),
    between(1, 10),
  )
}

/** @param demo prints the mails that the shop sends */
async function checkVerify(demo) {
  const post = (path, json) => send(demo.origin, path, { json })
  const sent = await post('/verify/send', { email: 'eve@example.com' })
  check('POST /verify/send: 202', [sent.status, sent.body], [202, { sent: true }])
  const early = await post('/verify/send', { email: 'eve@example.com' })
  check(
    'POST /verify/send, again: 429',
    [early.status, Number(early.field('retry-after'))],
    ([status, seconds]) => status === 429 && seconds >= 1 && seconds <= 10,
  )
  const [, code] = /mail to eve@example\.com: Your code is (\d{6})/.exec(demo.output) ?? []
  const wrong = code === '000000' ? '000001' : '000000'
  const codes = [wrong, code, code]
  const answers = []
  for (const each of codes)
    answers.push(await post('/verify', { email: 'eve@example.com', code: each }))
  check('POST /verify, wrong, right, again: 410, 200, 410', statuses(answers), [410, 200, 410])
  check('POST /verify, right: body', answers[1].body, { verified: 'eve@example.com' })
}

/** An invoice is made by a job, followed to its end. */
async function checkInvoices(origin) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': `invoice-${origin}` }
  const order = { headers, method: 'POST', body: JSON.stringify({ order: 7 }) }
  const [first, again] = await repeat(2, origin, '/invoices', order)
  const location = first.field('location')
  check('POST /invoices: 202 and Location', [first.status, location], ([status, path]) => {
    return status === 202 && path === `/invoices/${first.body.id}`
  })
  check('POST /invoices, the same key: the same job', again.body, first.body)
  const stream = await send(origin, `${location}/stream`)
  check('GET /invoices/:id/stream: to its end', stream.body, /event: end\ndata: .*"completed"/)
  const { body } = await send(origin, location)
  check(
    'GET /invoices/:id: the result',
    [body.state, body.result],
    ['completed', { invoice: 'invoice-7.pdf' }],
  )
  check('GET /invoices: 403', (await send(origin, '/invoices')).status, 403)
  const removed = await send(origin, location, { method: 'DELETE' })
  check('DELETE /invoices/:id: 404', removed.status, 404)
}

const textOf = (html) => html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')

async function checkPage(origin, store) {
  const page = await send(origin, '/')
  check(
    'GET /: an HTML page',
    [page.status, page.field('content-type')],
    [200, 'text/html; charset=utf-8'],
  )
  check(
    'GET /: nothing from elsewhere',
    page.body,
    (html) => !/(src|href)=|@import|url\(/.test(html),
  )
  check(
    'GET /: its scripts are its own',
    page.field('content-security-policy'),
    /default-src 'none'.*script-src 'sha256-/,
  )
  check('GET /: the store', textOf(page.body), store)
  check('GET /: what the caller has left', textOf(page.body), /GET \/products 30 of 30/)
  return page.body
}

/** Run the page's own lines in a shell. */
async function checkLines(html) {
  const entities = { '&#39;': "'", '&quot;': '"', '&amp;': '&', '&lt;': '<', '&gt;': '>' }
  const lines = [...html.matchAll(/<code>(.*?)<\/code>/g)].map(([, line]) =>
    line.replace(/&[^;]+;/g, (each) => entities[each]),
  )
  check('GET /: seventeen lines to try', lines.length, 17)
  const got = {}
  const cwd = await mkdtemp(path.join(tmpdir(), 'shop-'))
  for (const line of lines) {
    const { stdout } = await promisify(execFile)('sh', ['-c', line], { cwd })
    const codes = [...stdout.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))
    const target = /127\.0\.0\.1:\d+([^']*)/.exec(line)[1]
    got[target] = [...(got[target] ?? []), ...codes]
  }
  await rm(cwd, { recursive: true })
  check('GET /: every line does in a shell what it says', got, (all) => {
    const wanted = {
      '/login': [200, ...times(5, 401), 429],
      '/me': [200],
      '/me/sessions': [200],
      '/me/sessions?except=current': [200],
      '/logout': [200],
      '/api/quota': [...times(10, 200), 429, ...times(20, 200), 429],
      '/api/search?q=a': [200],
      '/api/trending': [200],
      '/products?page=1': [200],
      '/orders': [201, 201],
      '/inventory/rebuild': [200],
      '/verify/send': [202],
      '/verify': [410],
      '/invoices': [202],
      '/health': [200],
    }
    // The twenty-first of the pro plan passes where curl takes a second for twenty.
    const [last] = all['/api/quota'].splice(-1)
    wanted['/api/quota'].pop()
    return isDeepStrictEqual(all, wanted) && [200, 429].includes(last)
  })
}

async function checkHealth(origin, details) {
  const health = await send(origin, '/health')
  check(
    'GET /health: healthy',
    [health.status, health.body.status, health.body.connected],
    [200, 'healthy', true],
  )
  check('GET /health: details', health.body, details)
  const live = await send(origin, '/health/live')
  check('GET /health/live', [live.status, live.body], [200, { status: 'alive' }])
  const ready = await send(origin, '/health/ready')
  check('GET /health/ready', [ready.status, ready.body], [200, { status: 'ready' }])
}

/** Its database is a service that is checked. */
async function checkService(origin) {
  const until = Date.now() + 15_000
  let database
  do {
    database = (await send(origin, '/health')).body.services?.database
    await pause(50)
  } while (database === undefined && Date.now() < until)
  check('GET /health: the database is checked', database?.status, 'healthy')
}

/** What the smoke has done is in spans. */
async function checkSpans(origin, wanted) {
  await send(origin, '/api/search?q=a')
  const { body } = await send(origin, '/debug/spans')
  check(`GET /debug/spans: ${wanted}`, body.includes(wanted), true)
}

/** The metrics count what the smoke has done, for this machine only. */
async function checkMetrics(origin) {
  const text = await (await fetch(`${origin}/metrics`)).text()
  check(
    'GET /metrics: limits and Redis',
    [
      /^turnpike_limit_decisions_total\{.*outcome="refused"/m.test(text),
      /^turnpike_store_up 1$/m.test(text),
    ],
    [true, true],
  )
}

/** The health once it is `status`, or what it still is after `patience` ms. */
async function healthOnce(origin, status, patience) {
  const until = Date.now() + patience
  for (;;) {
    const health = await send(origin, '/health')
    if (health.body.status === status || Date.now() > until) return health
    await pause(20)
  }
}

/** Redis is gone: what each route does without it, also for who was logged in. */
async function checkAway(origin, cookie) {
  const health = await healthOnce(origin, 'degraded', 1000)
  check(
    'Redis killed, GET /health: degraded',
    [health.status, health.body],
    [200, { status: 'degraded', connected: false, reason: 'Redis is away' }],
  )
  check('Redis killed, GET /health/live', (await send(origin, '/health/live')).status, 200)
  check('Redis killed, GET /health/ready', (await send(origin, '/health/ready')).status, 200)
  const me = await send(origin, '/me', { headers: cookie })
  check(
    'Redis killed, GET /me, with a cookie: 503',
    [me.status, me.field('retry-after'), me.field('content-type'), me.field('set-cookie')],
    [503, '2', 'application/problem+json', null],
  )
  check('Redis killed, GET /me, with a cookie: within the timeout', me.ms, (ms) => ms < 500)
  check('Redis killed, GET /me, no cookie: 401', (await send(origin, '/me')).status, 401)
  check(
    'Redis killed, GET /products, with a cookie: 200',
    (await send(origin, '/products', { headers: cookie })).status,
    200,
  )
  const right = await send(origin, '/login', login('correct horse'))
  check(
    'Redis killed, POST /login, right: 503, and no cookie',
    [right.status, right.field('set-cookie')],
    [503, null],
  )
  // Whatever is no success is counted, so the guard has seen one of five.
  const five = await repeat(5, origin, '/login', login('guess'))
  check('Redis killed, POST /login: counted here, 401 four times, then 429', statuses(five), [
    ...times(4, 401),
    429,
  ])
  const free = await repeat(11, origin, '/api/quota', { key: 'free' })
  check('Redis killed, GET /api/quota: counted here, 200 ten times, then 429', statuses(free), [
    ...times(10, 200),
    429,
  ])
  check('Redis killed, GET /products: 200', (await send(origin, '/products')).status, 200)
  check('Redis killed, GET /api/search: 200', (await send(origin, '/api/search?q=')).status, 200)
  for (const target of ['/orders', '/inventory/rebuild', '/invoices']) {
    const refused = await send(origin, target, {
      method: 'POST',
      headers: { 'idempotency-key': 'k' },
    })
    check(
      `Redis killed, POST ${target}: not begun, 503`,
      [refused.status, refused.field('retry-after')],
      [503, '2'],
    )
  }
  check(
    'Redis killed: no request waits for it',
    Math.max(...free.map(({ ms }) => ms)),
    (ms) => ms < 500,
  )
  const page = await send(origin, '/')
  check('Redis killed, GET /: says so', [page.status, /Redis is away/.test(page.body)], [200, true])
}

async function checkBack(origin) {
  const health = await healthOnce(origin, 'healthy', 5000)
  check('Redis back, GET /health: healthy', health.body.status, 'healthy')
  const quota = await send(origin, '/api/quota', { key: 'free' })
  check(
    'Redis back, GET /api/quota: counted there',
    [quota.status, quota.field('ratelimit')],
    [200, '"free";r=9;t=60'],
  )
}

async function inProcess() {
  console.log('\nin-process engine')
  const demo = await start([], {})
  check(
    'the banner names the store',
    demo.output,
    /^store: in-process \(set REDIS_URL for Redis; data is lost on exit\)$/m,
  )
  await checkPage(demo.origin, /Store: in this process/)
  await checkSessions(demo.origin)
  await checkLogin(demo.origin)
  await checkQuota(demo.origin)
  await checkRest(demo.origin)
  await checkOrders(demo.origin)
  await checkVerify(demo)
  await checkInvoices(demo.origin)
  await checkHealth(demo.origin, (body) => typeof body.latency_ms === 'number')
  await checkMetrics(demo.origin)
  await checkService(demo.origin)
  await checkSpans(demo.origin, 'turnpike rateLimit api')
  await end(demo)
}

async function onRedis(startRedis) {
  console.log('\nreal Redis, killed and started again')
  const redis = await startRedis({ args: ['--requirepass', PASSWORD] })
  const url = `redis://:${PASSWORD}@${redis.host}:${redis.port}`
  try {
    const demo = await start([], { REDIS_URL: url })
    check('the banner names the store', demo.output, new RegExp(`^store: ${redis.url}$`, 'm'))
    await checkPage(demo.origin, /Store: Redis/)
    const cookie = await checkSessions(demo.origin)
    const run = commandLine(url)
    const listed = await run('sessions', 'ada@example.com', '--secret-env', 'SESSION_SECRET')
    check('turnpike sessions: that of the login', listed.data?.sessions.length, 1)
    await checkLogin(demo.origin)
    await checkQuota(demo.origin)
    await checkRest(demo.origin)
    await checkOrders(demo.origin)
    await checkVerify(demo)
    await checkInvoices(demo.origin)
    await checkHealth(
      demo.origin,
      (body) => typeof body.latency_ms === 'number' && /^\d/.test(body.version),
    )
    await checkMetrics(demo.origin)
    await checkService(demo.origin)
    await checkSpans(demo.origin, 'EVALSHA applyPolicies')
    await redis.kill()
    await checkAway(demo.origin, cookie)
    await redis.restart()
    await checkBack(demo.origin)
    await end(demo)
    check('the password was never shown', demo.output.includes(PASSWORD), false)
  } finally {
    await redis.stop()
  }
}

/** Reads a stream of events until what it has sent matches. Calls `act` once the stream has begun. */
async function read(origin, target, headers, pattern, act) {
  const controller = new AbortController()
  const signal = AbortSignal.any([controller.signal, AbortSignal.timeout(10_000)])
  const answer = await fetch(origin + target, { headers, signal })
  let acted
  let text = ''
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text.includes('id: ')) acted ??= act?.()
    if (pattern.test(text)) break
  }
  controller.abort()
  await acted
  return { type: answer.headers.get('content-type'), text }
}

async function checkStreams(origin, cookie) {
  const post = (target, body) =>
    send(origin, target, {
      method: 'POST',
      headers: { ...cookie, 'content-type': 'application/json' },
      body: JSON.stringify(body ?? {}),
    })
  const stats = await read(origin, '/stream', cookie, /"views":1/, () => post('/campaigns/7/views'))
  check('GET /stream: statistics as they change', stats.type, 'text/event-stream')
  const [id] = /(?<=id: )\S+(?!.*id: )/s.exec(stats.text) ?? []
  await post('/campaigns/7/clicks')
  const later = await read(origin, '/stream', { ...cookie, 'last-event-id': id }, /"clicks":1/)
  check('GET /stream, again: what was missed, and no gap', /event: gap/.test(later.text), false)
  const badge = await read(origin, '/inbox/stream', cookie, /event: push/, () =>
    post('/notes', { title: 'Hello' }),
  )
  check('GET /inbox/stream: the count, then the note', badge.text, /"messages":0.*"unread":1\}/s)
  const marked = await post('/inbox/read', { all: true })
  check('POST /inbox/read', marked.body, { unread: { messages: 0, announcements: 0 } })
  const report = await post('/reports')
  check('POST /reports: 202', report.status, 202)
  const location = report.field('location')
  const until = Date.now() + 5000
  while ((await send(origin, location, { headers: cookie })).status === 404 && Date.now() < until)
    await pause(50)
  const bar = await read(origin, `${location}/stream`, cookie, /event: end\n.*\n\n/)
  check('GET /progress/:id/stream: to the end', bar.text, /"percent":50.*"status":"done"/s)
  check('GET /progress/:id, a stranger: 404', (await send(origin, location)).status, 404)
  await post('/logout')
  const closed = await send(origin, '/stream', { headers: cookie })
  check('POST /logout: the stream is closed', closed.status, 401)
}

async function realtime(...args) {
  console.log(`\nrealtime ${args.join(' ')}`)
  const demo = await start(['realtime', ...args], {})
  const page = await send(demo.origin, '/')
  check('GET /: a form', [page.status, /id="login"/.test(page.body)], [200, true])
  const entered = await send(demo.origin, '/login', { json: { name: 'ann' } })
  check('POST /login: 204', entered.status, 204)
  const cookie = { cookie: entered.field('set-cookie')?.split(';', 1)[0] ?? '' }
  const live = await send(demo.origin, '/', { headers: cookie })
  check('GET /: badge and bar', live.body, /id="badge".*<progress id="bar"/s)
  await checkStreams(demo.origin, cookie)
  await end(demo)
}

async function withItsOwn() {
  console.log('\n--redis, and the lines of the page in a shell')
  const demo = await start(['--redis'], {})
  const [, port] = /^store: redis:\/\/127\.0\.0\.1:(\d+)$/m.exec(demo.output) ?? []
  check('the banner names the store', Number(port), (value) => value > 0)
  const page = await send(demo.origin, '/')
  // The lines lock the user out.
  await checkSessionsOf(demo.origin, `redis://127.0.0.1:${port}`)
  if (await hasCurl()) await checkLines(page.body)
  else console.log('       curl is not installed: its lines were not run')
  await checkCommandLine(demo.origin, commandLine(`redis://127.0.0.1:${port}`))
  await checkDashboard(demo.origin)
  await end(demo)
  check('its Redis has ended with it', await answers(Number(port)), false)
}

/** Returns a function that runs `npx turnpike` over the shop's Redis. */
function commandLine(redis) {
  const env = { ...process.env, TURNPIKE_REDIS_URL: redis, SESSION_SECRET: 'only for a demo' }
  return async (...line) => {
    const args = [path.join(root, 'dist/cli.mjs'), ...line, '--prefix', 'shop', '--json']
    const ended = promisify(execFile)(process.execPath, args, { cwd: root, env })
    const { code = 0, stdout } = await ended.catch((error) => error)
    return { code, ...JSON.parse(stdout) }
  }
}

/** The dashboard, as a browser of the demo operator asks for it. */
async function checkDashboard(origin) {
  const document = await send(origin, '/ops/')
  check(
    'GET /ops/: the page, under a strict policy',
    [
      document.status,
      /src="app\.js"/.test(document.body),
      document.field('content-security-policy'),
    ],
    ([status, isPage, policy]) =>
      status === 200 && isPage && policy.startsWith("default-src 'none'"),
  )
  check('GET /ops/app.js: 200', (await send(origin, '/ops/app.js')).status, 200)
  const overview = await send(origin, '/ops/data/overview')
  check('GET /ops/data/overview: one process', overview.body.data?.processes.live, 1)
  const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' }
  const wish = { command: 'limits reset', args: ['ada'], options: { reason: 'smoke' } }
  const post = (action, body, fields = headers) =>
    send(origin, `/ops/actions/${action}`, {
      method: 'POST',
      headers: fields,
      body: JSON.stringify(body),
    })
  const forged = await post('preview', wish, { ...headers, 'sec-fetch-site': 'cross-site' })
  check('POST /ops/actions/preview, from another site: 403', forged.status, 403)
  await repeat(11, origin, '/api/quota', { key: 'free' })
  const shown = await post('preview', wish)
  check(
    'POST /ops/actions/preview: the plan',
    shown.body.plan?.[0],
    'Forget what was counted for ada:',
  )
  const { state } = shown.body
  const made = await post('run', { ...wish, state })
  check('POST /ops/actions/run: done', [made.status, made.body.data?.changed], [200, true])
  const audit = await send(origin, '/ops/data/audit')
  check('GET /ops/data/audit: who did it', audit.body.data?.entries[0]?.by, 'demo operator')
}

async function checkCommandLine(origin, run) {
  // A process reports every ten seconds.
  const until = Date.now() + 30_000
  let limits = await run('limits')
  while (!(limits.data?.limits.length > 0) && Date.now() < until) {
    await repeat(11, origin, '/api/quota', { key: 'free' })
    await pause(500)
    limits = await run('limits')
  }
  check('turnpike limits: who was refused', limits.data?.limits, (rows) =>
    rows.some(({ limit, subject }) => limit === 'free' && subject === 'ada'),
  )
  const shown = await run('limits', 'show', 'ada')
  check(
    'turnpike limits show ada: nothing is left',
    shown.data.limits.find(({ limit }) => limit === 'free').state,
    ({ limit, remaining }) => limit === 10 && remaining === 0,
  )
  const { code, data } = await run('limits', 'reset', 'ada', '--yes', '--reason', 'smoke')
  check('turnpike limits reset ada: done', [code, data.changed], [0, true])
  const again = await send(origin, '/api/quota', { key: 'free' })
  check('turnpike limits reset ada: the next request is admitted', again.status, 200)
  const top = await run('top')
  check('turnpike top: one process', [top.code, top.data.processes], [0, 1])
  const locks = await run('locks')
  check('turnpike locks: all keys were seen', [locks.code, locks.data.scan.isComplete], [0, true])
  const doctor = await run('doctor')
  check(
    'turnpike doctor: nothing is critical',
    doctor.data.findings.filter(({ status }) => status === 'critical'),
    [],
  )
  const audit = await run('audit')
  check('turnpike audit: the reset', audit.data.entries[0]?.reason, 'smoke')
  await checkRules(origin, run)
  await checkMaintenance(origin, run)
}

/** A client is refused and admitted from a shell, in the running shop. */
async function checkRules(origin, run) {
  const why = ['--yes', '--reason', 'smoke']
  const blocked = await run('block', '127.0.0.1', '--for', '1h', ...why)
  check(
    'turnpike block: in force in all processes',
    [blocked.code, blocked.data?.confirmed, blocked.data?.processes],
    [0, 1, 1],
  )
  const refused = await send(origin, '/api/quota', { key: 'pro' })
  check('turnpike block: 403', refused.status, 403)
  const rules = await run('rules')
  check('turnpike rules: the block', rules.data?.rules[0]?.target, '127.0.0.1')
  check('turnpike unblock: done', (await run('unblock', '127.0.0.1', ...why)).code, 0)
  const admitted = await send(origin, '/api/quota', { key: 'pro' })
  check('turnpike unblock: 200', admitted.status, 200)
}

/** The sessions of a user, found with the application's own instance. */
async function checkSessionsOf(origin, url) {
  const { status } = await send(origin, '/login', login('correct horse'))
  check('POST /login: 200', status, 200)
  const folder = await mkdtemp(path.join(tmpdir(), 'smoke-'))
  const module = path.join(folder, 'tp.mjs')
  const source = pathToFileURL(path.join(root, 'dist/express.mjs')).href
  await writeFile(
    module,
    `import { turnpike } from '${source}'
export const tp = turnpike({ redis: '${url}', prefix: 'shop' })
tp.session({ secret: 'only for a demo' })`,
  )
  const args = [path.join(root, 'dist/cli.mjs'), 'sessions', 'ada@example.com', '--app', module]
  const ended = promisify(execFile)(process.execPath, [...args, '--json'], { cwd: root })
  const { stdout } = await ended.catch((error) => error)
  const { data } = JSON.parse(stdout)
  check('turnpike sessions ada@example.com --app: that of the login', data?.sessions.length, 1)
  await rm(folder, { recursive: true })
}

/** The shop is closed and opened again from a shell. */
async function checkMaintenance(origin, run) {
  const statusOnce = async (status) => {
    const until = Date.now() + 5000
    let answer = await send(origin, '/api/trending')
    while (answer.status !== status && Date.now() < until) {
      await pause(20)
      answer = await send(origin, '/api/trending')
    }
    return answer
  }
  const on = await run('maintenance', 'on', '--retry-after', '10m', '--yes', '--as', 'smoke')
  check('turnpike maintenance on: done', [on.code, on.data?.on], [0, true])
  const closed = await statusOnce(503)
  check(
    'turnpike maintenance on: 503 with Retry-After',
    [closed.status, closed.field('retry-after'), closed.field('content-type')],
    [503, '600', 'application/problem+json'],
  )
  check('turnpike maintenance on: health', (await send(origin, '/health/live')).status, 200)
  const off = await run('maintenance', 'off', '--yes')
  check('turnpike maintenance off: done', [off.code, off.data?.on], [0, false])
  check('turnpike maintenance off: 200', (await statusOnce(200)).status, 200)
}

const hasCurl = () =>
  promisify(execFile)('curl', ['--version']).then(
    () => true,
    () => false,
  )

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

try {
  await inProcess()
  // Not a static import: the first demo may just have built it.
  const { startRedis } = await import('turnpike/testing')
  await onRedis(startRedis)
  await withItsOwn()
  await realtime()
  await realtime('--redis')
} catch (error) {
  failures++
  console.error(error)
}
const seconds = ((performance.now() - began) / 1000).toFixed(1)
console.log(
  `\ndemo:smoke: ${failures === 0 ? `all ${checks} checks passed` : `${failures} of ${checks} failed`} in ${seconds} s`,
)
process.exit(failures === 0 ? 0 : 1)
