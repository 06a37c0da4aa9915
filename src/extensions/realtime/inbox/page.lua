-- Reads messages, the latest first.
-- ARGV[1]  time of the message after which the page begins; '': the latest
-- ARGV[2]  most messages
-- ARGV[3]  bytes after which no further message is returned
-- ARGV[4]  time to live of a message, ms
-- Reply: { number of unread messages, time of the last message if others follow or '',
--          members of a message as JSON, 1 if it is unread, ... }
trim(tonumber(ARGV[4]))
local limit, left = tonumber(ARGV[2]), tonumber(ARGV[3])
local top = ARGV[1] == '' and '+inf' or '(' .. ARGV[1]
local reply, count, position = { 0, '' }, 0, ''
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], top, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
for i = 1, #found, 2 do
  if count == limit or left <= 0 then
    reply[2] = position
    break
  end
  local id = found[i]
  local message = redis.call('HGET', KEYS[2], id)
  if message then
    reply[#reply + 1] = message
    reply[#reply + 1] = redis.call('ZSCORE', KEYS[3], id) and 1 or 0
    left = left - #message
  else
    remove(id)
  end
  count, position = count + 1, found[i + 1]
end
reply[1] = redis.call('ZCARD', KEYS[3])
return reply
