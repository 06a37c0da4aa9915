import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isPermitted } from '../src/permissions.ts'

test.each([
  [['orders:read'], 'orders:read', true],
  [['orders:read'], 'orders:write', false],
  [['orders:read'], 'ORDERS:READ', false],
  [['orders'], 'orders:read', false],
  [['orders:read'], 'orders', false],
  [['orders:*'], 'orders:read', true],
  [['orders:*'], 'orders:read:own', true],
  [['orders:*'], 'orders', false],
  [['orders:*'], 'ordersx:read', false],
  [['*:read'], 'orders:read', true],
  [['*:read'], 'orders:read:own', false],
  [['orders:*:own'], 'orders:read:own', true],
  [['orders:*:own'], 'orders:read:all', false],
  [['*'], 'anything:at:all', true],
  [['a', 'b:*'], 'b:c', true],
  [['orders:read'], 'orders:*', false],
  [['orders:*'], 'orders:*', true],
  [['order*'], 'orders', false],
  [[], 'orders:read', false],
])('%j covers %s: %s', (granted, wanted, expected) => {
  expect(isPermitted(granted, wanted)).toBe(expected)
})

test.each([
  undefined,
  null,
  'orders:read',
  { includes: () => true },
  [null, 7, ['orders:read'], {}],
])('what is no list of strings permits nothing: %j', (granted) =>
  expect(isPermitted(granted, 'orders:read')).toBe(false),
)

test('without a wildcard a grant covers itself only', () => {
  const part = fc.stringMatching(/^[a-z:]{0,12}$/)
  fc.assert(
    fc.property(part, part, (grant, wanted) => isPermitted([grant], wanted) === (grant === wanted)),
  )
})
