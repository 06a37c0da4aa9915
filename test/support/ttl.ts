import { expect } from 'vitest'
import type { RedisServer } from '../../src/testing.ts'

interface Evaluates {
  eval(script: string, keys: number): Promise<unknown>
}

/** A script may look into every database, and a Cluster has but one. */
const ETERNAL = `
local eternal = ''
for database = 0, 15 do
  if type(redis.pcall('SELECT', database)) == 'table' and database > 0 then
    local tried = redis.pcall('SELECT', database)
    if tried.err then break end
  end
  for _, key in ipairs(redis.call('KEYS', '*')) do
    if redis.call('PTTL', key) == -1 then eternal = eternal .. database .. '/' .. key .. ' ' end
  end
end
return eternal`

/** Fails if any key of any database has no time to live. For the `afterAll` of every file that uses Redis. */
export async function expectEveryKeyToExpire(redis: RedisServer | Evaluates): Promise<void> {
  const found =
    'send' in redis ? bulk(await redis.send('EVAL', ETERNAL, '0')) : await redis.eval(ETERNAL, 0)
  expect(found, 'keys without a time to live').toBe('')
}

/** The text of a RESP bulk reply; any other reply as it is. */
const bulk = (reply: string): string =>
  /^\$\d+\r\n/.test(reply) ? reply.replace(/^\$\d+\r\n/, '').trimEnd() : reply
