import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  fillKey,
  findKey,
  forgetKey,
  touchKey,
} from '../../../src/extensions/tokens/api-keys/operations.ts'
import {
  admitAddress,
  consumeToken,
  issueToken,
  revokeIssued,
} from '../../../src/extensions/tokens/one-time/operations.ts'
import {
  issueFamily,
  listFamilies,
  revokeFamilies,
  revokeFamily,
  rotateFamily,
} from '../../../src/extensions/tokens/refresh/operations.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const TIMEOUT = 60_000 + SEQUENCES * 20
const channel = (id: string): string => `news:${id}`
const turn = fc.constantFrom(0, 0, 0, 1, 9, 10, 11, 999, 1000, 60_001, 86_400_001, -5)
const digests = ['a', 'b', 'c'].map((letter) => letter.repeat(43))

test(
  `${SEQUENCES} random sequences: the scripts of one-time tokens and their twins reply alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(
        issueToken,
        issueToken,
        consumeToken,
        consumeToken,
        consumeToken,
        revokeIssued,
        admitAddress,
      ),
      digest: fc.constantFrom(...digests),
      older: fc.constantFrom(...digests, undefined),
      stays: fc.constantFrom('0', '0', '1'),
      attempts: fc.constantFrom(0, 1, 2, 2, 5),
      ttl: fc.constantFrom(10, 1000, 60_000),
      cooldown: fc.constantFrom(0, 1, 10, 1000),
      maxCooldown: fc.constantFrom(1000, 3000, 60_000),
      payload: fc.constantFrom('[null,null]', '["ann",{"é":"\\n"}]', ''),
      use: fc.constantFrom(1, 400, 1000, -400, -1000),
      turn,
    })
    const tally = await differential({
      name: 'one-time tokens',
      operations: [issueToken, consumeToken, revokeIssued, admitAddress],
      step,
      channel,
      play(steps, id, run) {
        let now = START
        for (const each of steps) {
          now += each.turn
          const { operation, digest, attempts, cooldown, maxCooldown } = each
          const patience = [attempts, cooldown, maxCooldown]
          if (operation === admitAddress)
            run({ operation, keys: [`address:{${id}}`], args: [1000, each.use], now })
          else if (operation === issueToken)
            run({
              operation,
              keys: [`once:{${id}}`],
              args: [digest, each.payload, each.ttl, ...patience],
              now,
            })
          else if (operation === consumeToken)
            run({
              operation,
              keys: [`once:{${id}}`],
              args: [each.stays, ...patience, digest, ...(each.older ? [each.older] : [])],
              now,
            })
          else run({ operation, keys: [`once:{${id}}`], args: [], now })
        }
      },
    })
    for (const reply of ['issue 0', 'issue 1', 'consume 0', 'consume 1', 'revoke 1', 'admit 0'])
      expect(tally[`oneTime.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of refresh tokens and their twins reply alike`,
  async () => {
    const handle = fc.constantFrom('f1', 'f1', 'f1', 'f2', 'f3')
    const step = fc.record({
      operation: fc.constantFrom(
        issueFamily,
        issueFamily,
        ...Array.from({ length: 8 }, () => rotateFamily),
        revokeFamily,
        revokeFamilies,
        listFamilies,
      ),
      handle,
      except: fc.oneof(fc.constant(''), handle),
      /** How many exchanges ago the token was issued. */
      age: fc.constantFrom(0, 0, 0, 1, 1, 2, 9),
      ttl: fc.constantFrom(1000, 60_000),
      absolute: fc.constantFrom(1000, 120_000),
      grace: fc.constantFrom(0, 10, 1000),
      most: fc.constantFrom(1, 2, 3),
      data: fc.constantFrom('null', '{"a":"\\n"}', undefined),
      turn: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(0, 1, 9, 10, 11) },
        { weight: 1, arbitrary: turn },
      ),
    })
    const tally = await differential({
      name: 'refresh tokens',
      operations: [issueFamily, rotateFamily, revokeFamily, revokeFamilies, listFamilies],
      step,
      channel,
      play(steps, id, run) {
        const keys = [`refresh:{${id}}`]
        const tokens = new Map<string, string[]>()
        let [now, count] = [START, 0]
        const next = (): string => String(++count).padStart(43, 't')
        for (const {
          operation,
          handle,
          except,
          age,
          ttl,
          absolute,
          grace,
          most,
          data,
          turn,
        } of steps) {
          now += turn
          if (operation === issueFamily) {
            const token = next()
            tokens.set(handle, [token])
            run({
              operation,
              keys,
              args: [handle, token, ttl, absolute, most, '"ann"', data ?? 'null'],
              now,
            })
          } else if (operation === rotateFamily) {
            const known = tokens.get(handle) ?? []
            const token = known.at(-1 - age) ?? 'x'.repeat(43)
            const successor = next()
            const salt = String(count).padStart(22, 's')
            const args = [handle, token, successor, salt, ttl, grace]
            if (data !== undefined) args.push(data)
            const [kind] = run({ operation, keys, args, now }) as number[]
            if (kind === 1) tokens.set(handle, [...known, successor])
          } else {
            const args =
              operation === listFamilies ? [] : [operation === revokeFamily ? handle : except]
            run({ operation, keys, args, now })
          }
        }
      },
    })
    for (const reply of [0, 1, 2, 3, 4])
      expect(tally[`refresh.rotate ${reply}`], `rotate ${reply}`).toBeGreaterThan(0)
    for (const reply of ['revoke 0', 'revoke 1', 'revokeUser 0', 'revokeUser 1', 'list f1'])
      expect(tally[`refresh.${reply}`], reply).toBeGreaterThan(0)
  },
  TIMEOUT,
)

test(
  `${SEQUENCES} random sequences: the scripts of API keys and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom(findKey, findKey, findKey, fillKey, fillKey, forgetKey, touchKey),
      token: fc.constantFrom('one', 'two', ''),
      found: fc.constantFrom('r{"id":1}', 'r{"id":2}', 'n', ''),
      ttl: fc.constantFrom(10, 1000, 60_000),
      revokedFor: fc.constantFrom(0, 10, 60_000),
      turn,
    })
    const tally = await differential({
      name: 'API keys',
      operations: [findKey, fillKey, forgetKey, touchKey],
      step,
      channel,
      play(steps, id, run) {
        let now = START
        for (const { operation, token, found, ttl, revokedFor, turn } of steps) {
          now += turn
          if (operation === touchKey)
            run({ operation, keys: [`use:{${id}}`], args: [1000, 60_000], now })
          else {
            const args =
              operation === findKey
                ? [token, ttl]
                : operation === fillKey
                  ? [token, found, ttl]
                  : [revokedFor, channel(id), id]
            run({ operation, keys: [`key:{${id}}`], args, now })
          }
        }
      },
    })
    for (const reply of ['find o', 'find l', 'find x', 'find n', 'fill o', 'fill x', 'forget 1'])
      expect(tally[`apiKey.${reply}`], reply).toBeGreaterThan(0)
    expect(tally['apiKey.find r{"id":1}']).toBeGreaterThan(0)
  },
  TIMEOUT,
)
