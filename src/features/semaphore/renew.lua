-- Renews a permit that its owner still holds.
-- KEYS[1]  the permits
-- ARGV[1]  owner
-- ARGV[2]  lease from now on, ms
-- Reply: 1; 0: the owner does not hold one
local lease = tonumber(ARGV[2])
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now then return 0 end
redis.call('ZADD', KEYS[1], whole(now + lease), ARGV[1])
if redis.call('PTTL', KEYS[1]) < lease then keep(KEYS[1], lease) end
return 1
