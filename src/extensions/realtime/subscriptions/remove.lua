-- Removes values.
-- KEYS[1]  sorted set: values by the time of their last add, ms
-- ARGV[1]  time to live of a value, ms
-- ARGV[2] and more  values
-- Reply: number of values that were there
local removed = 0
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ARGV[1]))
for i = 2, #ARGV - 1 do removed = removed + redis.call('ZREM', KEYS[1], ARGV[i]) end
return removed
