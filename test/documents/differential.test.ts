import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  readChanges,
  readDocument,
  writeDocument,
} from '../../src/documents/document-operations.ts'
import { operation } from '../../src/store/store.ts'
import { differential, SEQUENCES, START } from '../support/differential.ts'

const TTL = 86_400_000

/** The script has no command of its own in a differential test: LRANGE as one. */
const readChangesByScript = operation({
  name: 'documents.changes',
  lua: `return redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])`,
  memory: readChanges.memory,
})

test(
  `${SEQUENCES} random sequences: the scripts of documents and their twins reply and publish alike`,
  async () => {
    const operations = [readDocument, writeDocument, readChangesByScript]
    const step = fc.record({
      operation: fc.constantFrom(readDocument, writeDocument, writeDocument, readChangesByScript),
      /** Which version the caller knows: none, the current one, the one before, a made-up one. */
      known: fc.constantFrom('none', 'current', 'current', 'current', 'old', 'made-up'),
      content: fc.constantFrom('{}', '{"a":1}', '"é😀"', '', ' ', 'a b\nc', '%d.x '),
      nonce: fc.constantFrom('a', 'b', 'A_-9'),
      most: fc.constantFrom(1, 2, 100),
    })
    const tally = await differential({
      name: 'documents',
      operations,
      step,
      channel: (id) => `news:${id}`,
      play(steps, id, run) {
        const [key, changes] = [`document:{${id}}`, `document:{${id}}:changes`]
        const versions = ['']
        for (const { operation, known, content, nonce, most } of steps) {
          const version = {
            none: '',
            current: versions.at(-1)!,
            old: versions.at(-2) ?? '',
            'made-up': '7.x',
          }[known]
          if (operation === readDocument)
            run({ operation, keys: [key], args: [version, TTL], now: START })
          else if (operation === writeDocument) {
            const args = [version, content, nonce, TTL, `news:${id}`, `by ${nonce}`, most]
            const reply = run({ operation, keys: [key, changes], args, now: START })
            if (Array.isArray(reply) && reply[0] === 1) versions.push(String(reply[1]))
          } else run({ operation, keys: [changes], args: [0, most - 1], now: START })
        }
      },
    })
    for (const reply of ['read ', 'read 1.a', 'write 0', 'write 1', 'changes by a'])
      expect(tally[`documents.${reply}`], reply).toBeGreaterThan(0)
  },
  60_000 + SEQUENCES * 20,
)
