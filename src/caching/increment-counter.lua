-- Counts up or down. A counter is a plain whole number, its time to live begins with its first count.
-- KEYS[1]  the counter
-- KEYS[2]  the lease of a value in its place
-- ARGV[1]  by how much
-- ARGV[2]  the life of a new counter in ms
-- Reply: the new count
local fresh = redis.call('EXISTS', KEYS[1]) == 0
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if fresh then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('UNLINK', KEYS[2])
return count
