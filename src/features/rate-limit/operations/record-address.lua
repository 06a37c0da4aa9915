-- Records from which address an identity was tried: a sorted set by time, the last 1,000.
-- KEYS[1]  the identity's set
-- ARGV     the address, ms to remember it
-- Reply: 1
local key, keepFor = KEYS[1], tonumber(ARGV[2])
redis.call('ZADD', key, string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - keepFor))
redis.call('ZREMRANGEBYRANK', key, 0, -1001)
redis.call('PEXPIRE', key, ARGV[2])
return 1
