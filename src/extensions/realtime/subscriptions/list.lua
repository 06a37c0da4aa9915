-- Reads values, the latest first.
-- KEYS[1]  sorted set: values by the time of their last add, ms
-- ARGV[1]  time to live of a value, ms
-- Reply: { value, ... }
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. whole(now - ARGV[1]))
