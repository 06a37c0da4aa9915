-- Stands in front of the scripts of an inbox.
-- KEYS[1]  sorted set: IDs of the messages by the time of their push, ms. No two times are equal.
-- KEYS[2]  hash: members of the messages as JSON, by ID
-- KEYS[3]  sorted set: IDs of the unread messages by the same times. Its size is the unread count.
-- KEYS[4]  sorted set: IDs of removed messages by the time of their removal. They are not pushed again.
-- KEYS[5]  stream: the history of the user's topic

local function remove(id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end

-- Removes messages that are too old. Otherwise the count would include messages that no page shows.
local function trim(ttl)
  local past = whole(now - ttl)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', past)) do remove(id) end
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', past)
end

-- Removes a message, and remembers its ID.
local function discard(id, max, ttl)
  remove(id)
  redis.call('ZADD', KEYS[4], whole(now), id)
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -max - 1)
  keep(KEYS[4], ttl)
end
