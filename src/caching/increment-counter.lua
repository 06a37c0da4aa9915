-- Increments a counter. A counter is a plain integer. Its time to live begins with its first increment.
-- KEYS[1]  the counter
-- KEYS[2]  the lease of a value with this key
-- ARGV[1]  the amount
-- ARGV[2]  the time to live of a new counter in ms
-- Reply: the new count
local fresh = redis.call('EXISTS', KEYS[1]) == 0
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if fresh then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('UNLINK', KEYS[2])
return count
