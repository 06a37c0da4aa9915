/** The header fields by which a request names its sender. */
import { describe, expect, test } from 'vitest'
import { Identity } from '../../src/http/identity.ts'

const FIELDS = [
  'x-api-key',
  'api-key',
  'proxy-authorization',
  'x-access-token',
  'x-amzn-oidc-identity',
  'x-auth-token',
  'x-forwarded-user',
  'x-goog-authenticated-user-id',
  'x-ms-client-principal-id',
  'x-remote-user',
  'x-session',
  'x-session-id',
  'x-session-token',
  'x-user-id',
]

const identityWith = (headers: Record<string, string>): Identity =>
  new Identity({ native: {}, headers, header: (name) => headers[name] })

describe('the credential of a request', () => {
  test.each(FIELDS)('%s is one', (name) => {
    expect(identityWith({ [name]: 'a' }).credential()).toBe('api-key')
  })

  test.each(FIELDS)('%s is none if it is a part of the key', (name) => {
    expect(identityWith({ [name]: 'a' }).credential(new Set([name]))).toBeUndefined()
  })

  test.each(FIELDS)('another field in the key does not hide %s', (name) => {
    const [other] = FIELDS.filter((each) => each !== name)
    const identity = identityWith({ [name]: 'a', [other!]: 'b' })
    expect(identity.credential(new Set([other!]))).toBe('api-key')
  })

  test.each(FIELDS)('an empty %s is none', (name) => {
    expect(identityWith({ [name]: '' }).credential()).toBeUndefined()
  })
})
