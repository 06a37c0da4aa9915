-- Removes a term.
-- KEYS  see add.lua
-- ARGV[1]  folded term
-- Reply: 1 if it was there, else 0
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
