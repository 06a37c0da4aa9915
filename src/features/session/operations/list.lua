-- Lists a page of a user's sessions that have not expired. Those that expire first come first.
-- KEYS[1]  the user's index
-- ARGV[1]  offset
-- ARGV[2]  most entries
-- Reply: {number of all sessions, digest, expiry in ms, ...}
local after = '(' .. string.format('%.0f', now)
local reply = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])
table.insert(reply, 1, redis.call('ZCOUNT', KEYS[1], after, '+inf'))
return reply
