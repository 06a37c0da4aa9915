import { OpenFeature, type Provider } from '@openfeature/server-sdk'
import { afterEach, expect, test } from 'vitest'
import { flags, openFeatureProvider } from '../../../src/flags.ts'
import { turnpike } from '../../../src/node.ts'
import { testStore } from '../../../src/testing.ts'

afterEach(() => OpenFeature.close())

async function setUp() {
  const store = testStore()
  const feature = flags(turnpike({ store }), {
    defaults: { on: false, theme: 'plain', limit: 1, layout: { columns: 1 } },
  })
  const provider: Provider = openFeatureProvider(feature)
  await OpenFeature.setProviderAndWait(provider)
  return { store, feature, client: OpenFeature.getClient() }
}

test('values of each type come from the rules, by the context', async () => {
  const { feature, client } = await setUp()
  const pro = { targetingKey: 'ann', plan: 'pro', organisation: 'acme', other: { a: 1 } }
  await feature.set('on', { users: ['ann'] })
  await feature.set('theme', { plans: ['pro'], value: 'dark' })
  await feature.set('limit', { organisations: ['acme'], value: 5 })
  await feature.set('layout', { plans: ['pro'], value: { columns: 3 } })
  expect(await client.getBooleanValue('on', false, pro)).toBe(true)
  expect(await client.getStringValue('theme', '', pro)).toBe('dark')
  expect(await client.getNumberValue('limit', 0, pro)).toBe(5)
  expect(await client.getObjectValue('layout', {}, pro)).toEqual({ columns: 3 })
  expect(await client.getBooleanValue('on', true, { targetingKey: 'bob' })).toBe(false)
  expect(await client.getStringValue('theme', '')).toBe('plain')
})

test('details say whether rules are stored', async () => {
  const { feature, client } = await setUp()
  expect(await client.getBooleanDetails('on', true)).toMatchObject({
    value: false,
    reason: 'DEFAULT',
  })
  await feature.set('on', true)
  expect(await client.getBooleanDetails('on', false)).toMatchObject({
    value: true,
    reason: 'TARGETING_MATCH',
  })
})

test('for other names and types the caller gets its own default, and the reason', async () => {
  const { client } = await setUp()
  for (const name of ['onn', '__proto__', '', 'x'.repeat(10_000)])
    expect(await client.getBooleanDetails(name, true)).toMatchObject({
      value: true,
      reason: 'ERROR',
      errorCode: 'FLAG_NOT_FOUND',
    })
  expect(await client.getStringDetails('on', 'mine')).toMatchObject({
    value: 'mine',
    errorCode: 'TYPE_MISMATCH',
  })
  expect(await client.getNumberValue('layout', 7)).toBe(7)
})

test('it is not ready while Redis was never reached', async () => {
  const store = testStore()
  store.fail()
  const feature = flags(turnpike({ store }), { defaults: { on: false } })
  await expect(OpenFeature.setProviderAndWait(openFeatureProvider(feature))).rejects.toMatchObject({
    code: 'TP_UNAVAILABLE',
  })
})
