-- Renews the place of a stream, also one that was lost with Redis's data.
-- KEYS[1]  the streams
-- ARGV[1]  ID of the stream
-- ARGV[2]  lease, ms
-- Reply: 1
redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), ARGV[1])
keep(KEYS[1], tonumber(ARGV[2]))
return 1
