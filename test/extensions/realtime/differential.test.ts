import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  announceMessage,
  publishMessage,
  readHistory,
} from '../../../src/extensions/realtime/channels/operations.ts'
import { operation, type Operation } from '../../../src/store/store.ts'
import { differential, SEQUENCES, START } from '../../support/differential.ts'

const TIMEOUT = 60_000 + SEQUENCES * 20
const TTL = 86_400_000
const channel = (id: string): string => `news:${id}`

/** The run of the server differs: both reply 0 in its place. */
const withoutRun: Operation<string[]> = operation({
  name: readHistory.name,
  lua: readHistory.lua
    .slice(readHistory.lua.indexOf('local function whole'))
    .replace(/local run = .*/, 'local run = -10000'),
  memory(...call) {
    const [last, now, ...rest] = readHistory.memory(...call)
    return [last!, now!.replace(/-\d+$/, '-0'), ...rest]
  },
})

test(
  `${SEQUENCES} random sequences: the scripts of channels and their twins reply and publish alike`,
  async () => {
    const step = fc.record({
      operation: fc.constantFrom<Operation<any>>(
        publishMessage,
        publishMessage,
        announceMessage,
        withoutRun,
      ),
      most: fc.constantFrom(1, 2, 3, 10),
      after: fc.constantFrom('', '0-0', 'first', 'last', `${START + 1}-0`),
      count: fc.constantFrom(1, 2, 100),
      json: fc.constantFrom('1', '"a b"', '""', '{"a":"\\n"}', '"ü"'),
      bytes: fc.constantFrom(1, 2, 5, 1000),
      first: fc.constantFrom(0, 7),
      elapsed: fc.constantFrom(0, 0, 1, 5, -3),
    })
    const tally = await differential({
      name: 'channels',
      operations: [publishMessage, announceMessage, withoutRun],
      step,
      channel,
      play(steps, id, run) {
        const ids: string[] = []
        let now = START
        for (const {
          operation: called,
          most,
          after,
          count,
          json,
          elapsed,
          first,
          bytes,
        } of steps) {
          now += elapsed
          const keys = [`topic:{${id}}`]
          if (called === publishMessage) {
            const args = [json, most, TTL, channel(id), first]
            ids.push(String(run({ operation: called, keys, args, now })))
          } else if (called === announceMessage) {
            run({ operation: called, keys, args: [json, channel(id)], now })
          } else {
            const known = after === 'first' ? ids[0] : after === 'last' ? ids.at(-1) : after
            run({ operation: called, keys, args: [known ?? '', count, bytes], now })
          }
        }
      },
    })
    expect(Object.keys(tally).some((label) => label.startsWith('channels.publish'))).toBe(true)
    expect(tally['channels.announce 1']).toBeGreaterThan(0)
    expect(Object.keys(tally).some((label) => label.startsWith('channels.read'))).toBe(true)
  },
  TIMEOUT,
)
