import { expect, it } from 'vitest'
import { runScript } from '../support/child.ts'

const LOADED = `
  import { createRequire } from 'node:module'
  import { setTimeout as sleep } from 'node:timers/promises'
  const require = createRequire(import.meta.url)
  const loaded = () => Object.keys(require.cache).filter((file) => /beat|processes/.test(file)).map((file) => file.replace(/.*[\\\\/]/, ''))
  const { turnpike } = require('turnpike/express')
  console.log('at first', loaded().join())
  const tp = turnpike({ redis: 'memory', operations: { every: '1s' } })
  tp.rateLimit({ limit: 5, window: '1m' })
  console.log('mounted', loaded().join())
  while (loaded().length === 0) await sleep(50)
  console.log('reported', loaded().includes('beat.cjs'))
  await tp.close()`

it("require('turnpike/express') loads nothing of the reports, and an instance loads it when the first one is due", async () => {
  const { stdout, stderr } = await runScript(LOADED)
  expect({ stdout, stderr }).toEqual({
    stdout: 'at first \nmounted \nreported true\n',
    stderr: '',
  })
})

const RULES = `
  import { createRequire } from 'node:module'
  const require = createRequire(import.meta.url)
  const loaded = () => Object.keys(require.cache).filter((file) => /rule-(changes|replica|table)/.test(file)).length > 0
  const { turnpike } = require('turnpike/express')
  const tp = turnpike({ redis: 'memory' })
  tp.rateLimit({ limit: 5, window: '1m' })
  tp.loginGuard({ key: () => 'ann' })
  console.log('mounted', loaded())
  await tp.control.deny('203.0.113.7', { by: 'ann', reason: 'a test' })
  console.log('changed', loaded())
  await tp.close()`

it('the table of rules is loaded when there is something to look up', async () => {
  const { stdout, stderr } = await runScript(RULES)
  expect({ stdout, stderr }).toEqual({ stdout: 'mounted false\nchanged true\n', stderr: '' })
})
