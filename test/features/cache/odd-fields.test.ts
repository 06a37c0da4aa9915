/** Responses with fields that are odd, and that applications nevertheless send. */
import { describe, expect, test } from 'vitest'
import { testStore } from '../../../src/testing.ts'
import { kinds, type App, type Setup, type Tools } from './support.ts'

describe.each(kinds)('$name', ({ start }) => {
  let calls: number
  const open = (fields: Record<string, string>, rest: Partial<Setup> = {}): Promise<App> => {
    calls = 0
    const handler = ({ set, send }: Tools): void => {
      for (const [name, value] of Object.entries(fields)) set(name, value)
      send(200, `${++calls} ${'page '.repeat(1_000)}`)
    }
    return start({ options: { store: testStore() }, handler, ...rest })
  }

  test.each([
    'private; max-age=0',
    'max-age=0; no-store',
    'max-age=0 no-store',
    'max-age=60 private',
    'max-age="60"private',
  ])('Cache-Control: %s keeps a page from others, commas or not', async (value) => {
    const app = await open({ 'Cache-Control': value })
    await app.get('/')
    await app.get('/')
    expect(calls).toBe(2)
  })

  test('a nonce is for one response, in whatever case its keyword is', async () => {
    const app = await open({ 'Content-Security-Policy': "script-src 'NONCE-abc'" })
    expect((await app.get('/')).headers['cache-status']).toContain('detail=nonce')
  })

  test.each(['__proto__', 'constructor', 'toString, valueOf'])(
    'Vary: %s names fields that the client did not send',
    async (vary) => {
      const app = await open({ Vary: vary })
      for (let i = 0; i < 2; i++) expect((await app.get('/')).status).toBe(200)
      expect([calls, app.errors]).toEqual([1, []])
    },
  )

  test.each(['Content-Digest', 'Content-MD5', 'Digest', 'Repr-Digest'])(
    '%s is that of the bytes that the client gets',
    async (field) => {
      const app = await open({ [field]: 'sha-256=:abc:', 'Content-Type': 'text/plain' })
      const miss = await app.get('/')
      const hit = await app.get('/', { 'Accept-Encoding': 'gzip' })
      expect(hit.headers['cache-status']).toContain('hit')
      expect(hit.headers[field.toLowerCase()]).toBe('sha-256=:abc:')
      expect(hit.bytes.equals(miss.bytes)).toBe(true)
      const part = await app.get('/', { Range: 'bytes=0-3' })
      expect(part.status).toBe(206)
      if (field.startsWith('Content')) expect(part.headers).not.toHaveProperty(field.toLowerCase())
    },
  )
})
