/** Slots are those that Redis and ioredis work out. */
import keySlot from 'cluster-key-slot'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createKeySpace } from '../../src/store/keys.ts'
import { slotOf } from '../../src/store/slot.ts'

it("knows the slot of the Cluster specification's example", () => {
  expect(slotOf('123456789')).toBe(0x31c3)
})

it.each([
  '',
  'plain',
  '{tag}',
  'a{tag}b',
  '{}a',
  'a{b',
  'a}b',
  'a{b}{c}',
  '{{a}}',
  'tp:limit:{~e}:x',
])('takes the hash tag of %j', (key) => expect(slotOf(key)).toBe(keySlot(key)))

it('agrees with ioredis on any key of ours', () => {
  const { tag, key } = createKeySpace('tp')
  const subjects = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(subjects, (subject) => {
      const own = key('limit', tag(subject), 'x')
      return slotOf(own) === keySlot(own)
    }),
  )
})
