-- Marks messages as read, and publishes it if any was unread.
-- ARGV[1]  'ids', 'upTo' or 'all'
-- ARGV[2]  time to live of a message, ms
-- ARGV[3] to ARGV[6]  most messages of the history, its time to live, channel, first sequence number
-- ARGV[7] and more  IDs; for 'upTo' the ID of the latest message that is read
-- Reply: number of unread messages
trim(tonumber(ARGV[2]))
local how, before, what = ARGV[1], redis.call('ZCARD', KEYS[3]), '"all":true'
if how == 'all' then
  redis.call('DEL', KEYS[3])
elseif how == 'upTo' then
  local at = redis.call('ZSCORE', KEYS[1], ARGV[7])
  if at then redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', at) end
  what = '"upTo":"' .. ARGV[7] .. '"'
else
  local ids = {}
  for i = 7, #ARGV - 1 do
    if redis.call('ZREM', KEYS[3], ARGV[i]) == 1 then ids[#ids + 1] = '"' .. ARGV[i] .. '"' end
  end
  what = '"ids":[' .. table.concat(ids, ',') .. ']'
end
local unread = redis.call('ZCARD', KEYS[3])
if unread < before then
  append(KEYS[5], '{"type":"read",' .. what .. ',"unread":' .. unread .. '}',
    ARGV[3], ARGV[4], ARGV[5], ARGV[6])
end
return unread
