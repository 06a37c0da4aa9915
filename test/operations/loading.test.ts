/** What people on call need is loaded when it is first used, and not with the application. */
import { expect, it, test } from 'vitest'
import { runScript } from '../support/child.ts'

const LOADED = `
  import { createRequire } from 'node:module'
  import { setTimeout as sleep } from 'node:timers/promises'
  const require = createRequire(import.meta.url)
  const lazy = /^(alert-checks|beat|catalogue|cli|otel|exposition|processes\\d?|receivers|server-info|service-checks|service-operations|snapshot)$/
  const loaded = () => Object.keys(require.cache).map((file) => file.replace(/.*[\\\\/]/, '').replace('.cjs', '')).filter((file) => lazy.test(file)).sort()
  const { turnpike } = require('turnpike/express')
  console.log('at first', loaded().join())
  const tp = turnpike({ redis: 'memory', operations: { every: '1s' } })
  tp.rateLimit({ limit: 5, window: '1m' })
  const metrics = tp.metrics({ server: true })
  const service = tp.service('payments')
  const alerts = tp.alerts({ notify() {}, every: '1h' })
  console.log('mounted', loaded().join())
  while (loaded().length === 0) await sleep(50)
  console.log('reported', loaded().join())
  await metrics.text()
  console.log('read', loaded().join())
  await alerts.list()
  console.log('listed', loaded().join())
  await service.report()
  console.log('served', loaded().join())
  await tp.close()`

it("require('turnpike/express') loads nothing of reports, metrics and alerts, and each is loaded at its first use", async () => {
  const { stdout, stderr } = await runScript(LOADED)
  expect(stderr).toBe('')
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' '))
  expect(lines.map(([when]) => when)).toEqual(
    ['at first', 'mounted', 'reported', 'read', 'listed', 'served'].map(
      (when) => when.split(' ')[0],
    ),
  )
  expect(stdout).toContain('at first \nmounted \n')
  const [reported, read, listed, served] = lines.slice(-4).map(([, names = '']) => names.split(','))
  expect(reported).toContain('beat')
  for (const name of ['exposition', 'snapshot', 'alert-checks'])
    expect(reported).not.toContain(name)
  expect(read).toEqual(expect.arrayContaining(['exposition', 'server-info', 'snapshot']))
  expect(read).not.toContain('alert-checks')
  expect(listed).toContain('alert-checks')
  expect(listed).not.toContain('service-checks')
  expect(served).toContain('service-checks')
})

const DASHBOARD = `
  import { createRequire } from 'node:module'
  import http from 'node:http'
  const require = createRequire(import.meta.url)
  const loaded = () => Object.keys(require.cache).filter((file) => file.endsWith('shared/dashboard.cjs')).length > 0
  const { turnpike } = require('turnpike/express')
  const tp = turnpike({ redis: 'memory' })
  const dashboard = tp.dashboard({ authorize: (req) => req.url === '/yes/' && { can: 'view', who: 'ann' } })
  const server = http.createServer((req, res) => dashboard(req, res, () => res.end())).listen(0)
  const get = (path) => fetch('http://127.0.0.1:' + server.address().port + path).then(({ status }) => status)
  console.log('mounted', loaded())
  console.log(await get('/no'), loaded())
  console.log(await get('/yes/'), loaded())
  server.close()
  server.closeAllConnections()
  await tp.close()`

it('the dashboard is loaded at the first request that may see it', async () => {
  const { stdout, stderr } = await runScript(DASHBOARD)
  expect({ stdout, stderr }).toEqual({
    stdout: 'mounted false\n404 false\n404 true\n',
    stderr: '',
  })
})

const PARTS = `
  import { readFileSync } from 'node:fs'
  import { createRequire } from 'node:module'
  const require = createRequire(import.meta.url)
  const entry = 'turnpike/express'
  require(entry)
  const files = Object.keys(require.cache)
  const matches = (text, pattern) => [...text.matchAll(pattern)].map(([, found]) => found)
  const sources = files.flatMap((file) => matches(readFileSync(file, 'utf8'), /^\\/\\/#region (src\\/.*)$/gm))
  const packages = matches(files.join('\\n').replaceAll('\\\\', '/'), /node_modules\\/((?:@[^/]+\\/)?[^/]+)/g)
  console.log(JSON.stringify({ sources, packages: [...new Set(packages)].sort() }))`

test.each(['turnpike/express', 'turnpike/koa', 'turnpike'])(
  "require('%s') loads no extension, no command line, no dashboard, and no package but the two dependencies",
  async (entry) => {
    const { stdout } = await runScript(PARTS.replace('turnpike/express', entry))
    const { sources, packages }: Record<string, string[]> = JSON.parse(stdout)
    expect(sources).toContain('src/validate.ts')
    expect(sources!.length).toBeGreaterThan(20)
    expect(
      sources!.filter((file) => /^src\/(extensions|cli|dashboard|testing|documents)\//.test(file)),
    ).toEqual([])
    expect(['ipaddr.js', 'structured-headers']).toEqual(expect.arrayContaining(packages!))
  },
)
