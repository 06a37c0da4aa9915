-- Deletes messages, and publishes it if there was any.
-- ARGV[1]  most messages of the inbox
-- ARGV[2]  time to live of a message, ms
-- ARGV[3] to ARGV[6]  most messages of the history, its time to live, channel, first sequence number
-- ARGV[7] and more  IDs
-- Reply: { number of deleted messages, number of unread messages }
local max, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
trim(ttl)
local ids = {}
for i = 7, #ARGV - 1 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    discard(ARGV[i], max, ttl)
    ids[#ids + 1] = '"' .. ARGV[i] .. '"'
  end
end
local unread = redis.call('ZCARD', KEYS[3])
if #ids > 0 then
  append(KEYS[5], '{"type":"delete","ids":[' .. table.concat(ids, ',') .. '],"unread":' .. unread .. '}',
    ARGV[3], ARGV[4], ARGV[5], ARGV[6])
end
return { #ids, unread }
