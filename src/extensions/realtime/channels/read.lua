-- Reads the history of a topic after a position.
-- KEYS[1]  stream: the history
-- ARGV[1]  position: the ID of the last message that is known; '': read no messages
-- ARGV[2]  most messages that are returned
-- ARGV[3]  bytes after which no further message is returned
-- Reply: { ID of the latest message or '', position before any message from now on,
--          ID, ID of its predecessor, message, ID, ... }
local reply = { latest(KEYS[1]) }
if ARGV[1] == '' then return reply end
local left = tonumber(ARGV[3])
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  if left <= 0 then break end
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = fields['p'] or ''
  reply[#reply + 1] = fields['d'] or ''
  left = left - #reply[#reply]
end
return reply
