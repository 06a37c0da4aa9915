/** The programs of docs/guides that need these packages, as a reader copies them. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { io } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startRedis } from 'turnpike/testing'
import { cookiesOf, copyPrograms, runProgram, statuses } from './support.mjs'

const root = path.join(import.meta.dirname, '../..')
/** Below this folder, so that the packages are found. */
const folder = path.join(import.meta.dirname, '.cache/guides')
let redis

beforeAll(async () => {
  redis = await startRedis()
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
})
afterAll(() => redis.stop())

it('fastify.md: limits, sessions and the cache work, and SIGTERM ends it', async () => {
  const { client, stop } = await runProgram(
    redis,
    path.join(copyPrograms('fastify', folder), 'app.mjs'),
  )
  expect(await statuses(3, () => client.get('/limited'))).toEqual([200, 200, 429])
  const first = await client.get('/visits').expect(200, { visits: 1 })
  await client.get('/visits').set('Cookie', cookiesOf(first)).expect(200, { visits: 2 })
  await client.get('/page').expect(200)
  expect((await client.get('/page')).headers['cache-status']).toContain('hit')
  expect(await stop()).toBe(0)
})

it('socket-io.md: a socket has the session of its page, and messages are limited', async () => {
  const { client, origin, stop } = await runProgram(
    redis,
    path.join(copyPrograms('socket-io', folder), 'app.mjs'),
  )
  const cookie = cookiesOf(await client.post('/login/ann').expect(204))
  const connect = (extraHeaders) => {
    const socket = io(origin, { extraHeaders, forceNew: true })
    onTestFinished(() => socket.close())
    return () => new Promise((resolve) => socket.emit('message', 'hello', resolve))
  }
  const say = connect({ cookie })
  for (let i = 0; i < 3; i++) expect(await say()).toEqual({ said: 'hello' })
  expect(await say()).toMatchObject({ error: 'too fast' })
  expect(await connect({})()).toEqual({ error: 'log in first' })
  expect(await stop()).toBe(0)
})

it('serverless.md: a limit counts, and a repeated order has one effect', async () => {
  const project = copyPrograms('serverless', folder)
  const event = (key) => ({
    version: '2.0',
    routeKey: '$default',
    rawPath: '/orders',
    rawQueryString: '',
    headers: {
      host: 'api.test',
      'content-type': 'application/json',
      'idempotency-key': key,
      'x-forwarded-for': '203.0.113.9',
      'x-forwarded-proto': 'https',
    },
    requestContext: {
      http: { method: 'POST', path: '/orders', protocol: 'HTTP/1.1', sourceIp: '203.0.113.9' },
    },
    body: JSON.stringify({ item: 'compass' }),
    isBase64Encoded: false,
  })
  // A process of its own: the program reads its environment when it is loaded.
  const code = `
    const { handler } = await import(${JSON.stringify(pathToFileURL(path.join(project, 'index.mjs')).href)})
    const seen = []
    for (const event of ${JSON.stringify([event('a'), event('a'), event('b')])}) {
      const { statusCode, body } = await handler(event, {})
      seen.push([statusCode, JSON.parse(body).number])
    }
    console.log(JSON.stringify(seen))
    process.exit()`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, REDIS_URL: redis.url },
  })
  expect(stderr).not.toContain('Error')
  expect(JSON.parse(stdout)).toEqual([
    [201, 1],
    [201, 1],
    [201, 2],
  ])
})

describe('nestjs.md', () => {
  const project = path.join(folder, 'nestjs')

  it('compiles, as in a project of NestJS', () => {
    copyPrograms('nestjs', folder)
    writeFileSync(path.join(project, 'package.json'), '{ "type": "module" }')
    const options = ['--target', 'es2022', '--module', 'nodenext', '--strict', '--types', 'node']
    const decorators = ['--experimentalDecorators', '--emitDecoratorMetadata', '--skipLibCheck']
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc')
    const args = [tsc, 'main.ts', '--ignoreConfig', ...options, ...decorators, '--pretty', 'false']
    const { stdout } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8' })
    // In a reader's project the types of express-session are not installed. Theirs win where they are.
    const errors = stdout.split('\n').filter((line) => line.includes('error TS'))
    expect(errors.filter((line) => !line.includes("Property 'userId'"))).toEqual([])
  })

  it('has sessions, a limit, a cache and idempotent orders, and SIGTERM ends it', async () => {
    const { client, stop } = await runProgram(redis, path.join(project, 'main.js'))
    const cookie = cookiesOf(await client.post('/login').expect(201))
    await client.get('/me').set('Cookie', cookie).expect(200, { user: 'ann' })
    const order = () => client.post('/orders').set('Idempotency-Key', 'o1').send({ item: 'map' })
    await order().expect(201, { number: 1 })
    await order().expect(201, { number: 1 })
    expect(await statuses(4, () => client.get('/products'))).toEqual([200, 200, 200, 429])
    await client.get('/health/live').expect(200)
    await stop()
  })
})
