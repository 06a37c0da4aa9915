-- Returns the holders of permits.
-- KEYS[1]  the permits
-- KEYS[2]  times of the acquisitions
-- ARGV[1]  number of holders that are returned at most
-- Reply: { owner, since, until, ... } (times in ms since the epoch), in the order of `until`
local live = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local reply = {}
for i = 1, #live, 2 do
  reply[#reply + 1] = live[i]
  reply[#reply + 1] = tonumber(redis.call('HMGET', KEYS[2], live[i])[1]) or 0
  reply[#reply + 1] = tonumber(live[i + 1])
end
return reply
