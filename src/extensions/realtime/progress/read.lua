-- Reads a progress, and the position in its topic at which it is so.
-- KEYS[1]  hash: the progress
-- KEYS[2]  stream: the history of its topic
-- Reply: { the state as JSON or '', ID of the latest message or '', position before any message from
--          now on }
return { redis.call('HGET', KEYS[1], 'view') or '', latest(KEYS[2]) }
