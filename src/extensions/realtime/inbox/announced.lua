-- Stands in front of the scripts of announcements.
-- KEYS[1]  sorted set: IDs of the announcements by the time from which they are shown, ms
-- KEYS[2]  sorted set: IDs by the time until which they are shown, ms
-- KEYS[3]  hash: members of the announcements as JSON, by ID
-- KEYS[4]  stream: the history of their topic

local function remove(id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end

-- Removes announcements whose time is over.
local function trim()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now))) do remove(id) end
end
