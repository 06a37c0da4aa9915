/** The application of README.md answers what its console blocks show. */
import type { Server } from 'node:net'
import request from 'supertest'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { blocksOf, clear, modulesOf, sourceOf, textOf, write } from './blocks.ts'
import { freePorts } from './servers.ts'

const FOLDER = `readme-${process.pid}`
const ports = freePorts()
let server: Server
beforeAll(async () => {
  const app = modulesOf('README.md').find(({ name }) => name === 'app.ts')!
  await import(
    write(FOLDER, app, sourceOf(app, () => true).replace('process.env.REDIS_URL', 'undefined'))!
  )
  server = ports.servers[0]!
})
afterAll(() => {
  ports.restore()
  clear(FOLDER)
})

const [hello, refused] = blocksOf(textOf('README.md')).filter(
  ({ language }) => language === 'console',
)
const CHANGING = /^(Date|Connection|Keep-Alive|Content-Type): /

/** Compares an answer to a block that curl printed. */
function expectPrinted(answer: request.Response, { code }: { code: string }): void {
  const [head = '', body] = code.split('\n\n')
  const [, status, ...fields] = head.split('\n')
  expect(status).toContain(` ${answer.status} `)
  for (const field of fields.filter((line) => !CHANGING.test(line))) {
    const [, name, value] = /^([^:]+): (.*)$/.exec(field)!
    expect(answer.headers[name!.toLowerCase()], name).toBe(value)
  }
  expect(answer.text.trim()).toBe(body!.trim())
}

test('the first request', async () => {
  expectPrinted(await request(server).get('/'), hello!)
})

test('the sixth wrong password', async () => {
  const login = () =>
    request(server).post('/login').send({ email: 'a@example.com', password: 'guess' })
  for (let i = 0; i < 5; i++) await login().expect(401)
  expectPrinted(await login(), refused!)
})
