-- Pushes a message and publishes it. An ID that is known changes nothing.
-- ARGV[1]  ID
-- ARGV[2]  data, JSON
-- ARGV[3]  most messages of the inbox. The oldest ones are removed.
-- ARGV[4]  time to live of a message, ms
-- ARGV[5] to ARGV[8]  most messages of the history, its time to live, channel, first sequence number
-- Reply: { 1, or 0 for a known ID, number of unread messages }
local id, max, ttl = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
trim(ttl)
if redis.call('ZSCORE', KEYS[1], id) or redis.call('ZSCORE', KEYS[4], id) then
  return { 0, redis.call('ZCARD', KEYS[3]) }
end
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0')
local at = whole(math.max(now, last + 1))
local message = '"id":"' .. id .. '","at":' .. at .. ',"data":' .. ARGV[2]
redis.call('ZADD', KEYS[1], at, id)
redis.call('HSET', KEYS[2], id, message)
redis.call('ZADD', KEYS[3], at, id)
for _, oldest in ipairs(redis.call('ZRANGE', KEYS[1], 0, -max - 1)) do discard(oldest, max, ttl) end
for i = 1, 3 do keep(KEYS[i], ttl) end
local unread = redis.call('ZCARD', KEYS[3])
append(KEYS[5], '{"type":"push","message":{' .. message .. '},"unread":' .. unread .. '}',
  ARGV[5], ARGV[6], ARGV[7], ARGV[8])
return { 1, unread }
