-- Remembers from which addresses an identity was tried: a sorted set by time, the last 1,000.
-- KEYS[1] the identity's set   ARGV[1] the address   ARGV[2] ms to remember it
-- reply: 1
local key, keep = KEYS[1], tonumber(ARGV[2])
redis.call('ZADD', key, string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - keep))
redis.call('ZREMRANGEBYRANK', key, 0, -1001)
redis.call('PEXPIRE', key, ARGV[2])
return 1
