import type { Application } from 'express'
import request from 'supertest'
import { testStore } from 'turnpike/testing'
import { expect, it } from 'vitest'
import { createApp } from './app.ts'

const visit = (app: Application, tenant: string) =>
  request(app).get('/').set('Host', `${tenant}.example.com`)

it('keeps the budgets of tenants apart', async () => {
  const store = testStore()
  const { app } = createApp({ store })

  await visit(app, 'acme').expect(200)
  await visit(app, 'acme').expect(200)
  const refused = await visit(app, 'acme').expect(429)
  expect(refused.body).toMatchObject({ 'violated-policies': ['visitor'] })
  expect((await visit(app, 'globex').expect(200)).body).toEqual({ tenant: 'globex', left: 1 })

  await store.advance('61s')
  await visit(app, 'acme').expect(200)
})

it('counts all visitors of a tenant together, up to what it has bought', async () => {
  const { app, grant } = createApp({ store: testStore() })
  app.set('trust proxy', 1)
  const from = (address: string, tenant = 'acme') =>
    visit(app, tenant).set('X-Forwarded-For', address)

  for (let i = 1; i <= 3; i++) await from(`192.0.2.${i}`).expect(200)
  const refused = await from('192.0.2.4').expect(429)
  expect(refused.body).toMatchObject({ 'violated-policies': ['tenant'] })

  await grant('acme', 100)
  await from('192.0.2.4').expect(200)
  for (let i = 1; i <= 3; i++) await from(`192.0.2.${i}`, 'globex').expect(200)
  await from('192.0.2.4', 'globex').expect(429)
})

it('knows no other tenants', async () => {
  const { app } = createApp({ store: testStore() })
  await visit(app, 'initech').expect(404)
})
