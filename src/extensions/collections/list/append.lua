-- Appends a value.
-- KEYS[1]  list, the oldest first
-- ARGV[1]  value
-- ARGV[2]  most values. The oldest ones are removed.
-- ARGV[3]  time to live, ms
-- Reply: number of values
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
keep(KEYS[1], tonumber(ARGV[3]))
return redis.call('LLEN', KEYS[1])
