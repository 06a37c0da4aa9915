-- Changes a score.
-- KEYS  see board.lua
-- ARGV[1]  'add' or 'set'
-- ARGV[2]  ID
-- ARGV[3]  amount
-- ARGV[4]  time to live, ms
-- ARGV[5]  most IDs. The lowest ones are removed.
-- Reply: { score, rank from 1, or 0 for one that has no place }
local member = redis.call('HGET', KEYS[2], ARGV[2])
local score = member and tonumber(redis.call('ZSCORE', KEYS[1], member)) or nil
local changed = tonumber(ARGV[3]) + (ARGV[1] == 'add' and score or 0)
changed = math.max(-LARGEST, math.min(LARGEST, changed))
if changed ~= score then
  local count = redis.call('HINCRBY', KEYS[2], '', 1)
  if member then redis.call('ZREM', KEYS[1], member) end
  member = string.format('%016.0f', LARGEST - count) .. ARGV[2]
  redis.call('ZADD', KEYS[1], whole(changed), member)
  redis.call('HSET', KEYS[2], ARGV[2], member)
  local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[5])
  if excess > 0 then
    for _, each in ipairs(redis.call('ZRANGE', KEYS[1], 0, excess - 1)) do
      redis.call('ZREM', KEYS[1], each)
      redis.call('HDEL', KEYS[2], id_of(each))
    end
  end
end
for _, key in ipairs(KEYS) do keep(key, tonumber(ARGV[4])) end
local rank = redis.call('ZREVRANK', KEYS[1], member)
return { whole(changed), rank and rank + 1 or 0 }
