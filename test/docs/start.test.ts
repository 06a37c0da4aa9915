/** The applications of docs/start answer what their console blocks show, one request after the other. */
import type { Server } from 'node:net'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { blocksOf, clear, documents, modulesOf, sourceOf, textOf, write } from './blocks.ts'
import { freePorts } from './servers.ts'

const FOLDER = `start-${process.pid}`
const pages = documents().filter((document) => document.startsWith('docs/start/'))
afterAll(() => clear(FOLDER))

/** A command of a console block, and the response that the page shows below it. */
interface Exchange {
  command: string
  shown: string
}

const exchangesOf = (page: string): Exchange[] =>
  blocksOf(textOf(page))
    .filter(({ language }) => language === 'console')
    .flatMap(({ code }) => code.split(/^\$ /m).slice(1))
    .map((part) => ({
      command: part.slice(0, part.indexOf('\n')),
      shown: part.slice(part.indexOf('\n') + 1),
    }))

/** Sends what a curl command sends. A file of cookies is a string by its name. */
async function curl(server: Server, command: string, jars: Map<string, string>) {
  const option = (name: string): string | undefined =>
    new RegExp(` ${name} (?:'([^']*)'|(\\S+))`).exec(command)?.slice(1).find(Boolean)
  const path = new URL(/http:\S+/.exec(command)![0]).pathname
  const body = option('--json')
  const call = body === undefined ? request(server).get(path) : request(server).post(path)
  if (body !== undefined) void call.set('Content-Type', 'application/json').send(body)
  const sent = option('-b')
  if (sent !== undefined) void call.set('Cookie', jars.get(sent)!)
  const response = await call
  const kept = option('-c')
  if (kept !== undefined) jars.set(kept, response.headers['set-cookie']![0]!.split(';')[0]!)
  return response
}

/** Seconds that pass while the test runs. */
const withoutSeconds = (field: string): string => field.replace(/\b(t|ttl)=\d+/g, '$1=_')

test('there are three pages', () => expect(pages).toHaveLength(3))

describe.each(pages)('%s', (page) => {
  let ports: ReturnType<typeof freePorts>
  let server: Server
  beforeAll(async () => {
    ports = freePorts()
    const app = modulesOf(page).find(({ name }) => name === 'app.ts')!
    const code = sourceOf(app, () => true).replace('process.env.REDIS_URL', 'undefined')
    await import(write(FOLDER, app, code)!)
    server = ports.servers[0]!
  })
  afterAll(() => ports.restore())

  test('shows at least three requests', () => {
    expect(exchangesOf(page).length).toBeGreaterThanOrEqual(3)
  })

  test('answers what it shows', async () => {
    const jars = new Map<string, string>()
    for (const { command, shown } of exchangesOf(page)) {
      const response = await curl(server, command, jars)
      const [head = '', body] = shown.trim().split('\n\n')
      const [status, ...fields] = head.split('\n')
      expect(status, command).toContain(` ${response.status} `)
      for (const field of fields) {
        const [, name, value] = /^([^:]+): (.*)$/.exec(field)!
        const actual = response.headers[name!.toLowerCase()] ?? ''
        expect(withoutSeconds(actual), `${command}: ${name}`).toBe(withoutSeconds(value!))
      }
      if (body !== undefined) expect(response.text.trim()).toBe(body.trim())
    }
  })
})
