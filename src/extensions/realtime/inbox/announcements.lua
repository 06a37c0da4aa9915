-- Reads the announcements that are shown now, the latest first.
-- Reply: { members of an announcement as JSON, ... }
trim()
local reply = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], whole(now), '-inf')) do
  reply[#reply + 1] = redis.call('HGET', KEYS[3], id) or nil
end
return reply
