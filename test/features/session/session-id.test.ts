import { createHash } from 'node:crypto'
import calculateSlot from 'cluster-key-slot'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  handleOf,
  createSessionId,
  keysOfId,
  keysOfHandle,
  userTag,
} from '../../../src/features/session/session-id.ts'
import { RecentlyUsed } from '../../../src/features/session/recently-used.ts'
import { signId, verifyId } from '../../../src/features/session/signature.ts'
import { createKeySpace } from '../../../src/store/keys.ts'

const keys = createKeySpace('tp')

test('an id is a tag and 192 random bits; after a login the tag is the user’s', () => {
  const ids = new Set(Array.from({ length: 1000 }, () => createSessionId()))
  expect(ids.size).toBe(1000)
  for (const id of ids) expect(id).toMatch(/^[\w-]{40}$/)
  const tag = userTag('ada', 'secret')
  expect(createSessionId(tag).slice(0, 8)).toBe(tag)
  expect(createSessionId(tag).slice(8)).not.toBe(createSessionId(tag).slice(8))
  expect(userTag('ada', 'other secret')).not.toBe(tag)
  expect(userTag('bob', 'secret')).not.toBe(tag)
})

test('session, index and not-before share a slot, and the key holds a hash of the id', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ minLength: 1 }), fc.constant(createSessionId())),
      fc.option(fc.string(), { nil: undefined }),
      (id, tenant) => {
        const place = keysOfId(keys, id, tenant)
        const slots = [place.session, place.index, place.revokeBefore].map((key) =>
          calculateSlot(key),
        )
        expect(new Set(slots).size).toBe(1)
        expect(place.session).toContain(
          createHash('sha256').update(id).digest('base64url').slice(0, 22),
        )
        expect(keysOfHandle(keys, handleOf(place), tenant)?.session).toBe(place.session)
      },
    ),
  )
})

test('an ID is verified as it was signed: by one of the secrets, in an accepted form, under its name', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.constantFrom('named', 'express'), (id, form) => {
      const secrets = ['new', Buffer.from('old')]
      const value = signId(id, 'old', '__Host-sid', form)
      expect(verifyId(value, 'sid', secrets, [form])).toEqual({ id, secret: 1, form })
      expect(verifyId(value, 'sid', ['new', 'other'], ['named', 'express'])).toBeUndefined()
      const other = form === 'named' ? 'express' : 'named'
      expect(verifyId(value, 'sid', secrets, [other])).toBeUndefined()
      const isNameCovered = form === 'named'
      expect(verifyId(value, 'admin.sid', secrets, [form]) === undefined).toBe(isNameCovered)
    }),
  )
  for (const odd of ['', 's:', 's:.', 's:a', 's:a.', 'a.b', 's:.x', `s:a.${'x'.repeat(43)}`])
    expect(verifyId(odd, 'sid', ['secret'], ['named', 'express'])).toBeUndefined()
})

test('the memory of verified cookies is bounded, and keeps what is used', () => {
  const memo = new RecentlyUsed<number>(100)
  memo.set('used', 1)
  for (let i = 0; i < 1000; i++) {
    memo.set(`other ${i}`, i)
    expect(memo.get('used')).toBe(1)
  }
  const kept = Array.from({ length: 1000 }, (_, i) => memo.get(`other ${i}`)).filter(
    (each) => each !== undefined,
  )
  expect(kept.length).toBeLessThanOrEqual(200)
})
