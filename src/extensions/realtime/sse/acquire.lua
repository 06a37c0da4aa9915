-- Takes a place for a stream of a user.
-- KEYS[1]  the streams: IDs by the end of their leases, ms since the epoch
-- ARGV[1]  ID of the stream
-- ARGV[2]  most streams
-- ARGV[3]  lease, ms
-- Reply: 1; 0: there is no place
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], whole(now + ARGV[3]), ARGV[1])
keep(KEYS[1], tonumber(ARGV[3]))
return 1
