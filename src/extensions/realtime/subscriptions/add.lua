-- Adds values, or renews them.
-- KEYS[1]  sorted set: values by the time of their last add, ms
-- ARGV[1]  time to live of a value, ms
-- ARGV[2]  most values. Those that were added longest ago make room.
-- ARGV[3] and more  values
-- Reply: number of values that were not there
local ttl, max, added = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ttl))
for i = 3, #ARGV - 1 do added = added + redis.call('ZADD', KEYS[1], whole(now), ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -max - 1)
keep(KEYS[1], ttl)
return added
