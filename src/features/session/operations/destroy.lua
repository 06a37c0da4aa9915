-- Ends a session.
-- KEYS[1]  the session
-- KEYS[2]  its user's index
-- ARGV[1]  the session's digest
-- Reply: 1 if the session existed, 0 if not
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])
