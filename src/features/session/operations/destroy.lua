-- Ends a session.
-- KEYS[1]  the session
-- KEYS[2]  its user's index
-- ARGV[1]  the session's digest
-- ARGV[2]  channel of changed sessions
-- Reply: 1 if the session existed, 0 if not
redis.call('ZREM', KEYS[2], ARGV[1])
local count = redis.call('UNLINK', KEYS[1])
-- The session has ended, whether this may be published or not.
redis.pcall('PUBLISH', ARGV[2], string.match(KEYS[1], '{[^{}]*}[^{}]*$'))
return count
