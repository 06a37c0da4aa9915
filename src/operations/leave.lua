-- Removes a process that ends.
-- KEYS[1]  processes, by the time at which they wrote last
-- KEYS[2]  hash: this process
-- ARGV[1]  the process
-- Reply: 1 if it was there
redis.call('UNLINK', KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
