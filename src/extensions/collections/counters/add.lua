-- Adds to the counters of one item, once for each batch, and reads them.
-- KEYS[1]  counters: field -> count
-- KEYS[2]  number of the latest batch of this process. A batch that was carried out and reported as failed is sent again.
-- ARGV[1]  number of the batch; '0': only read
-- ARGV[2]  time to live of the counters, ms
-- ARGV[3]  how long the number of the batch is kept, ms
-- ARGV[4]  most fields
-- ARGV[5..]  field, increment, ...
-- Reply: { number of fields that were refused, field, count, ... }
local LARGEST = 9007199254740991
local refused = 0
if ARGV[1] ~= '0' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  for i = 5, #ARGV - 2, 2 do
    local known = redis.call('HGET', KEYS[1], ARGV[i])
    if known or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) then
      local count = (tonumber(known or '0') or 0) + tonumber(ARGV[i + 1])
      redis.call('HSET', KEYS[1], ARGV[i], whole(math.max(-LARGEST, math.min(LARGEST, count))))
    else
      refused = refused + 1
    end
  end
  keep(KEYS[1], tonumber(ARGV[2]))
  redis.call('SET', KEYS[2], ARGV[1])
  keep(KEYS[2], tonumber(ARGV[3]))
end
local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, refused)
return reply
